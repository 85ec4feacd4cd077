"""The noise ``echo=p``: a token becomes the one before it with probability p."""

import torch

from fairseq_bas.noise.keyed import uniform
from fairseq_bas.noise.policy import RATE, Noise, register_noise


def echo(tokens, words, keys, rate, vocabulary):
    """Repeat the token before, where that is a token of text, too; shapes as of `Noise.change`."""
    draws = uniform(keys.copy, "echo", tokens.size(1)).gather(1, words.position)
    chosen = words.editable & words.editable.roll(1, dims=1) & (draws < rate[:, None])
    chosen[:, 0] = False
    return torch.where(chosen, tokens.roll(1, dims=1), tokens)


register_noise("echo", Noise(*RATE, change=echo))
