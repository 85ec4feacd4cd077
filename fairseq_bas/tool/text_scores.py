"""Passes over a text: log-probabilities of its tokens, static, with a cache, with adaptation.

Shapes: N tokens of the text, T of a window, K values of theta.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from fairseq.models import FairseqLanguageModel
from torch import Tensor
from tqdm import tqdm

from ..data.stream_windows import StreamLayout, window_lengths
from ..data.streams import StreamEpoch, StreamText
from ..nn.carried_state import CarriedState
from ..nn.dynamic_evaluation import DynamicEvaluation, gradient_rms, refuse_training_mode
from ..nn.neural_cache import NeuralCache
from .language_model import score_window
from .perplexity_settings import DynamicSettings

STATIC_WINDOW = 128
"""Tokens of a forward pass where nothing is learned; it changes time and memory only."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class TextScores:
    """Hold the log-probabilities of a text in nats, float64 on the CPU.

    Attributes:
        model: (N,), of the model.
        cache: (K, N), of the cache with each theta; None without a cache.
    """

    model: Tensor
    cache: Tensor | None


def score_text(
    model: FairseqLanguageModel,
    text: StreamText,
    cache: NeuralCache | None = None,
    dynamic: DynamicEvaluation | None = None,
    segment: int = STATIC_WINDOW,
    label: str = "static",
) -> TextScores:
    """Read a text from beginning to end as one stream, the state carried along.

    The first token is predicted from the end-of-sentence symbol. Every token is scored before the
    cache or the parameters learn from it.

    Args:
        model: in eval mode, with carried state.
        text: N >= 1 tokens.
        cache: a cache that is empty; None for none.
        dynamic: updates the model after each segment; None to leave it as it is. The caller
            restores it.
        segment: tokens of a window, and between two updates.
        label: names the pass on its progress bar, which is only shown on a terminal.

    Returns:
        The log-probabilities.

    Raises:
        ValueError: if the model is in training mode or gives a token no finite log-probability.
        DivergedError: if adaptation drove the loss away.
    """
    refuse_training_mode(model)
    device = next(model.parameters()).device
    state, parts, start = CarriedState(), [], 0
    with torch.set_grad_enabled(dynamic is not None):
        for length in _progress(window_lengths(len(text), segment), label):
            inputs, labels = text.read(np.arange(start, start + length))
            inputs, labels = inputs.to(device), labels.to(device)
            hidden, log_probs = score_window(model, inputs[None], labels[None], state)
            parts.append(_scores_of(hidden[0], labels, log_probs[0], cache))
            if dynamic is not None:
                dynamic.step(-log_probs.mean())
            start += length
    scores = torch.cat(parts, dim=1)
    _require_finite(scores[0])
    return TextScores(scores[0], scores[1:] if cache is not None else None)


def statistics_of(
    model: FairseqLanguageModel, text: StreamText, settings: DynamicSettings
) -> tuple[list[Tensor], DynamicSettings]:
    """Collect the gradient statistics of a training text.

    Args:
        model: in eval mode, with carried state.
        text: the training text.
        settings: ``streams`` streams are read side by side, ``segment`` tokens at a time; fewer
            streams where the text does not fill one mini-batch.

    Returns:
        What ``gradient_rms`` returns, and the settings with the number of streams used.
    """
    streams = max(1, min(settings.streams, len(text) // settings.segment))
    layout = StreamLayout(len(text), streams, settings.segment)
    rms = gradient_rms(model, _training_losses(model, StreamEpoch(text, layout)))
    return rms, DynamicSettings(**{**vars(settings), "streams": streams})


def _scores_of(
    hidden: Tensor, labels: Tensor, log_probs: Tensor, cache: NeuralCache | None
) -> Tensor:
    """Return log-probabilities (1 + K, T), the model's first."""
    rows = [log_probs.detach().unsqueeze(0)]
    if cache is not None:
        rows.append(cache.log_prob(hidden, labels, log_probs))
    return torch.cat(rows).to("cpu", torch.float64)


def _training_losses(model: FairseqLanguageModel, epoch: StreamEpoch) -> Iterator[Tensor]:
    device = next(model.parameters()).device
    state = CarriedState()
    for items in _progress(epoch.batches(1), "gradient statistics"):
        batch = epoch.collater([epoch[item] for item in items])
        inputs, labels = batch["net_input"]["src_tokens"], batch["target"]
        _, log_probs = score_window(model, inputs.to(device), labels.to(device), state)
        yield -log_probs.mean()


def _require_finite(log_probs: Tensor) -> None:
    wrong = (~log_probs.isfinite()).nonzero()
    if len(wrong):
        raise ValueError(
            f"the model gives token {int(wrong[0]) + 1} of the text the log-probability "
            f"{log_probs[wrong[0]].item()}; its weights are not usable, pass another checkpoint"
        )


def _progress(items: Sequence[Item], label: str) -> Iterable[Item]:
    bar: Any = tqdm(items, desc=label, disable=None, leave=False)
    return bar


def mean_nll(log_probs: Tensor, counted: Tensor) -> float:
    """Return the mean negative log-likelihood of the counted tokens.

    Args:
        log_probs: (N,) float64, in nats.
        counted: (N,) bool.

    Returns:
        Nats per counted token, summed by ``math.fsum``.

    Raises:
        ValueError: if no token is counted.

    >>> mean_nll(torch.tensor([-1.0, -5.0, -2.0]), torch.tensor([True, False, True]))
    1.5
    """
    chosen = log_probs[counted]
    if len(chosen) == 0:
        raise ValueError("no token of the text is counted; leave --skip-unknown out")
    return -math.fsum(chosen.tolist()) / len(chosen)
