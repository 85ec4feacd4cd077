"""A continuous cache: words that followed hidden states like the present one are likely again.

Over the last W pairs of a hidden state h_i and the word w_i that came after it,

    p_cache(w | h_t) = sum_i 1[w_i = w] exp(theta h_t . h_i) / sum_i exp(theta h_t . h_i)
    p = (1 - lambda) p_model + lambda p_cache

Source: Grave et al. 2017 (arXiv 1612.04426), interpolated linearly. As in the pointer of AWD-LSTM,
h is the output of the last layer before dropout. Unlike there, a cache that is not full yet is
used too; an empty one, at the first token of a text, leaves the model's probability as it is.

Shapes: T new tokens, H hidden, n entries of the cache (<= W), K values of theta.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .wide_product import wide_type

CHUNK = 256
"""Tokens that are looked up at once: similarities take CHUNK * (W + CHUNK) numbers."""


class NeuralCache:
    """Look words up in the last W pairs of hidden state and next word, and remember new ones.

    Args:
        window: W >= 1.
        thetas: K >= 1 flattening factors >= 0, each of which gives a distribution; 0 counts words.
        chunk: tokens looked up at once, >= 1; changes memory and time, not the result.

    Raises:
        ValueError: if an argument is out of range.

    >>> cache = NeuralCache(window=2, thetas=[0.0])
    >>> hidden, words = torch.ones(4, 1), torch.tensor([7, 8, 7, 8])
    >>> cache.log_prob(hidden, words, torch.full((4,), 0.25).log()).exp()
    tensor([[0.2500, 0.0000, 0.5000, 0.5000]])
    """

    def __init__(self, window: int, thetas: Sequence[float], chunk: int = CHUNK):
        if window < 1:
            raise ValueError(f"a cache of {window} words remembers none; pass 1 or more")
        if not thetas or not all(math.isfinite(theta) and theta >= 0 for theta in thetas):
            raise ValueError(f"theta {list(thetas)} is not 0 or a positive number; pass e.g. 0.66")
        if chunk < 1:
            raise ValueError(f"a chunk of {chunk} tokens holds none; pass 1 or more")
        self.window, self.thetas, self.chunk = window, tuple(thetas), chunk
        self._hidden: Tensor | None = None
        self._words: Tensor | None = None

    def log_prob(self, hidden: Tensor, words: Tensor, log_model: Tensor) -> Tensor:
        """Return log p_cache of each next word, from the W pairs before it; then remember it.

        Args:
            hidden: (T, H) floating point, h_t from which each word is predicted, in the order of
                the text, which goes on where the last call ended.
            words: (T,) int64, the words w_t.
            log_model: (T,), log-probability of the model, returned where the cache is empty.

        Returns:
            (K, T), at least float32; -inf where no word of the cache is w_t. Without gradient.

        Raises:
            ValueError: if shapes do not fit.
        """
        if hidden.dim() != 2 or words.shape != hidden.shape[:1] or log_model.shape != words.shape:
            raise ValueError(
                f"hidden states {tuple(hidden.shape)}, words {tuple(words.shape)} and "
                f"log-probabilities {tuple(log_model.shape)} do not fit; pass (T, H), (T,), (T,)"
            )
        hidden = hidden.detach().to(wide_type(hidden.dtype))
        log_model = log_model.detach().to(hidden.dtype)
        parts = [
            self._look_up(*part)
            for part in zip(
                *(tensor.split(self.chunk) for tensor in (hidden, words, log_model)), strict=True
            )
        ]
        return torch.cat(parts, dim=1) if parts else hidden.new_zeros(len(self.thetas), 0)

    def _look_up(self, hidden: Tensor, words: Tensor, log_model: Tensor) -> Tensor:
        """Do what ``log_prob`` does for one chunk."""
        all_hidden, all_words = hidden, words
        if self._hidden is not None and self._words is not None:
            all_hidden = torch.cat([self._hidden, hidden])
            all_words = torch.cat([self._words, words])
        steps = torch.arange(len(words), device=words.device).unsqueeze(1)
        places = torch.arange(len(all_words), device=words.device)
        ago = steps + (len(all_words) - len(words)) - places
        seen = (ago >= 1) & (ago <= self.window)  # (T, n + T)
        same = seen & (all_words == words.unsqueeze(1))
        similarity = hidden @ all_hidden.T
        empty = ~seen.any(dim=1)
        result = []
        for theta in self.thetas:
            scores = theta * similarity
            log_all = scores.masked_fill(~seen, -math.inf).logsumexp(dim=1)
            log_same = scores.masked_fill(~same, -math.inf).logsumexp(dim=1)
            result.append(torch.where(empty, log_model, log_same - log_all))
        # Clones, so that what is left out is freed.
        self._hidden = all_hidden[-self.window :].clone()
        self._words = all_words[-self.window :].clone()
        return torch.stack(result)


def interpolate(log_model: Tensor, log_cache: Tensor, weight: float) -> Tensor:
    """Return log((1 - lambda) p_model + lambda p_cache), elementwise.

    Args:
        log_model: log-probabilities, any shape.
        log_cache: log-probabilities, of a shape that broadcasts with it.
        weight: lambda, in [0, 1).

    Returns:
        Log-probabilities, of the larger shape.

    Raises:
        ValueError: if lambda is out of range.

    >>> interpolate(torch.tensor(0.5).log(), torch.tensor(0.0).log(), 0.2).exp()
    tensor(0.4000)
    """
    if not 0 <= weight < 1:
        raise ValueError(
            f"lambda {weight} is not in [0, 1); at 1 a word that is not in the cache would have no "
            "probability"
        )
    if weight == 0:
        return log_model.expand(torch.broadcast_shapes(log_model.shape, log_cache.shape))
    return torch.logaddexp(log_model + math.log1p(-weight), log_cache + math.log(weight))
