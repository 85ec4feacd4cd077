"""Choose the settings of the neural cache and of dynamic evaluation on a validation text."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..nn.dynamic_evaluation import DivergedError
from ..nn.neural_cache import interpolate
from .perplexity_settings import CacheSettings, DynamicSettings, edge_of
from .text_scores import TextScores, mean_nll

DynamicPass = Callable[[DynamicSettings], TextScores]


@dataclass
class Tuning:
    """Hold what was tried on the validation text.

    Attributes:
        tried: one dict for each combination: method, its settings, ``nll`` in nats per token, None
            where dynamic evaluation diverged.
        notes: settings chosen at the edge of what was tried, one sentence each.
    """

    tried: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def choose_cache(
    method: str, scores: TextScores, counted: Tensor, around: CacheSettings, tuning: Tuning
) -> CacheSettings:
    """Return the theta and lambda of the lowest loss.

    Args:
        method: name of the method in the record: ``cache`` or ``both``.
        scores: of the validation text, the cache's for each of ``around.thetas()``.
        counted: (N,) bool, the tokens that count.
        around: the settings in the middle.
        tuning: where to record what was tried.

    Returns:
        The settings; of equal ones the first tried.

    Raises:
        ValueError: if the scores are without a cache, or no token counts.
    """
    if scores.cache is None:
        raise ValueError("there are no scores of a cache to choose from; score the text with one")
    found: list[tuple[float, CacheSettings]] = []
    for theta, log_cache in zip(around.thetas(), scores.cache, strict=True):
        for weight in around.weights():
            settings = replace(around, theta=theta, weight=weight)
            nll = mean_nll(interpolate(scores.model, log_cache, weight), counted)
            found.append((nll, settings))
            tuning.tried.append({"method": method, **vars(settings), "nll": nll})
    best = min(found, key=lambda pair: pair[0])[1]
    if best.weight == 0:
        tuning.notes.append(f"{method}: the cache does not help, lambda 0 is best")
        return best
    for name, value, tried in (
        ("theta", best.theta, around.thetas()),
        ("lambda", best.weight, around.weights()),
    ):
        _note_edge(f"{method}: {name}", value, edge_of(value, tried), f"--cache-{name}", tuning)
    return best


def choose_dynamic(
    run: DynamicPass, counted: Tensor, around: DynamicSettings, tuning: Tuning
) -> tuple[DynamicSettings, TextScores]:
    """Return the learning rate and the decay of the lowest loss, one chosen after the other.

    Args:
        run: scores the validation text with given settings.
        counted: (N,) bool, the tokens that count.
        around: the settings in the middle.
        tuning: where to record what was tried.

    Returns:
        The settings, and the scores of the validation text with them.

    Raises:
        DivergedError: if all diverged.
    """
    losses: dict[DynamicSettings, float] = {}
    kept: dict[DynamicSettings, TextScores] = {}  # of the best so far: a text can be long

    def try_out(settings: DynamicSettings) -> None:
        try:
            scores = run(settings)
            losses[settings] = mean_nll(scores.model, counted)
        except DivergedError:
            pass
        nll = losses.get(settings)
        tuning.tried.append({"method": "dynamic", **vars(settings), "nll": nll})
        if nll is not None and nll == min(losses.values()):
            kept.clear()
            kept[settings] = scores

    for lr in around.lrs():
        try_out(replace(around, lr=lr))
    if not losses:
        raise DivergedError(
            f"dynamic evaluation diverged with every learning rate from {min(around.lrs()):g} to "
            f"{max(around.lrs()):g}; pass a smaller --dynamic-lr"
        )
    [best] = kept
    for decay in around.decays():
        if decay != around.decay:
            try_out(replace(best, decay=decay))
    [(best, scores)] = kept.items()
    for name, value, tried in (
        ("lr", best.lr, around.lrs()),
        ("decay", best.decay, around.decays()),
    ):
        _note_edge(f"dynamic: {name}", value, edge_of(value, tried), f"--dynamic-{name}", tuning)
    return best, scores


def _note_edge(name: str, value: float, at_edge: bool, flag: str, tuning: Tuning) -> None:
    if at_edge:
        tuning.notes.append(
            f"{name} {value:.6g} is at the edge of what was tried; pass {flag} {value:.6g} to look "
            "further"
        )
