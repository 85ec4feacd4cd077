"""What a planned run is likely to be sorry for, found by rules that others have published."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_ROUND_OFF = 1e-6
_LATE, _EARLY = 1.05, 1.25
"""The end of a decay and of the run may differ by these factors."""


@dataclass(frozen=True)
class PlanFacts:
    """Hold what the rules look at; None where it is not known or does not exist.

    Attributes:
        updates: of the run.
        epochs: of the run.
        epoch_sentences: distinct sentences of an epoch.
        largest_sentences: distinct sentences of the largest planned update.
        largest_replicas: largest M.
        has_noise: whether copies of a sentence can differ.
        largest_kappa: the largest batch as a multiple of the reference batch.
        scheduler: ``--lr-scheduler``.
        knows_batch: whether that is one of this plugin.
        schedule: what the learning rate's decay is called, such as ``polynomial_decay``.
        schedule_length: updates of the reference batch after which the decay ends.
        schedule_end: updates of the reference batch that its clock shows at the end of the run.
        clock: what moves that clock, ``updates`` or ``samples``.
        warmup_updates: of the learning rate.
        peak_lr: largest learning rate of the run.
        adam: whether the optimizer is Adam or AdamW.
        post_norm_width: d of a Transformer with layer norms after the residuals.
        smallest_batch: smallest batch asked for, as a multiple of the base batch, and as written.
        grain: one micro-batch of every worker as a multiple of the base batch.
        workers: data-parallel workers.
    """

    updates: int = 0
    epochs: float = 0.0
    epoch_sentences: int = 0
    largest_sentences: float = 0.0
    largest_replicas: int = 1
    has_noise: bool | None = None
    largest_kappa: float = 1.0
    scheduler: str = ""
    knows_batch: bool = True
    schedule: str = ""
    schedule_length: float | None = None
    schedule_end: float = 0.0
    clock: str = "updates"
    warmup_updates: int = 0
    peak_lr: float = 0.0
    adam: bool = False
    post_norm_width: int | None = None
    smallest_batch: tuple[float, str] | None = None
    grain: float = 0.0
    workers: int = 1


def warnings_of(facts: PlanFacts) -> dict[str, str]:
    """Return the warnings about a run, each one sentence with what to do, by a name of its rule.

    >>> list(warnings_of(PlanFacts(updates=50, warmup_updates=100, schedule_end=50)))
    ['warm-up']
    """
    rules = (
        _large_batch,
        _long_warmup,
        _high_lr,
        _decay,
        _small_batch,
        _unscaled_lr,
        _equal_copies,
    )
    found = (warning for rule in rules for warning in rule(facts))
    return dict(found)


def merged(courses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the warnings about several courses of one run, those of some with their names.

    Args:
        courses: name of a course -> its warnings.

    >>> merged({"low": {"a": "A."}, "high": {"a": "A!", "b": "B."}})
    ['A.', 'if high: B.']
    """
    sentences = []
    for rule in dict.fromkeys(rule for warnings in courses.values() for rule in warnings):
        having = [name for name, warnings in courses.items() if rule in warnings]
        sentence = courses[having[0]][rule]
        is_general = len(having) == len(courses)
        sentences.append(sentence if is_general else f"if {' or '.join(having)}: {sentence}")
    return sentences


Found = Iterator[tuple[str, str]]


def _large_batch(facts: PlanFacts) -> Found:
    """Smith et al. 2017 (1711.00489) let batches grow up to a tenth of the data."""
    if facts.largest_sentences * 10 > facts.epoch_sentences * (1 + _ROUND_OFF) > 0:
        share = facts.largest_sentences / facts.epoch_sentences
        yield (
            "large batch",
            f"the largest batch of {facts.largest_sentences:,.0f} sentences is {share:.0%} of an "
            "epoch, and beyond a tenth growing batches no longer replace a decay (Smith et al. "
            "2017); lower the maximum of --bas-batch-schedule, --update-freq or --max-tokens",
        )


def _long_warmup(facts: PlanFacts) -> Found:
    if facts.warmup_updates > 0 and facts.schedule_end <= facts.warmup_updates:
        yield (
            "warm-up",
            f"the warm-up of {facts.warmup_updates:,} updates is not over when the run ends, after "
            f"{facts.updates:,} updates{_on_clock(facts)}; lower --warmup-updates or train longer",
        )


def _high_lr(facts: PlanFacts) -> Found:
    """Vaswani et al. 2017 (1706.03762) reach d^-0.5 · warmup^-0.5 at the end of the warm-up."""
    width, warmup = facts.post_norm_width, facts.warmup_updates
    if not (facts.adam and width and warmup):
        return
    published = 1 / math.sqrt(width * warmup)
    if facts.peak_lr > 2 * published * (1 + _ROUND_OFF):
        yield (
            "learning rate",
            f"the learning rate reaches {facts.peak_lr:.3g}, {facts.peak_lr / published:.1f} times "
            f"the {published:.3g} of Vaswani et al. 2017 for width {width} and {warmup:,} updates "
            "of warm-up, and beyond twice that Transformers with post-norm are reported to "
            "diverge; lower --lr or --bas-lr-scaling, warm up longer, or pass "
            "--encoder-normalize-before and --decoder-normalize-before",
        )


def _decay(facts: PlanFacts) -> Found:
    length, end = facts.schedule_length, facts.schedule_end
    if not length or end <= facts.warmup_updates:
        return
    is_polynomial = facts.schedule == "polynomial_decay"
    flag = "--total-num-update" if is_polynomial else "--lr-period-updates"
    wanted = end if is_polynomial else end - facts.warmup_updates
    if end * _LATE < length:
        yield (
            "decay",
            f"the run ends after {end / length:.0%} of the {facts.schedule} of {length:,.0f} "
            f"updates{_on_clock(facts)}, so the learning rate is still high; pass {flag} "
            f"{wanted:.0f}, or train longer",
        )
    elif end > length * _EARLY and is_polynomial:
        yield (
            "decay",
            f"the {facts.schedule} of {length:,.0f} updates is over after {length / end:.0%} of "
            f"the run{_on_clock(facts)}, which goes on at the last learning rate; pass {flag} "
            f"{wanted:.0f}, or stop earlier",
        )


def _small_batch(facts: PlanFacts) -> Found:
    if facts.smallest_batch is None:
        return
    multiple, text = facts.smallest_batch
    if multiple < facts.grain * (1 - _ROUND_OFF):
        readers = f"all {facts.workers} workers" if facts.workers > 1 else "the worker"
        yield (
            "small batch",
            f"a batch of {text} cannot be had, as an update holds at least one micro-batch of "
            f"{readers}, {facts.grain / multiple:.3g} times as much; lower --max-tokens or "
            "--batch-size" + (", or use fewer workers" if facts.workers > 1 else ""),
        )


def _unscaled_lr(facts: PlanFacts) -> Found:
    if facts.largest_kappa > 1 + _ROUND_OFF and not facts.knows_batch:
        yield (
            "unscaled learning rate",
            f"the batch grows to {facts.largest_kappa:.3g} times the reference batch and "
            f"--lr-scheduler {facts.scheduler} does not scale the learning rate with it; if it "
            f"should, pass --lr-scheduler bas_scaled --bas-base-schedule {facts.scheduler} with "
            "--bas-lr-scaling sqrt or linear",
        )


def _equal_copies(facts: PlanFacts) -> Found:
    if facts.largest_replicas > 1 and facts.has_noise is False:
        yield (
            "equal copies",
            f"{facts.largest_replicas} copies of every sentence without noise are all alike and "
            "only cost time; raise --dropout, or pass --bas-source-noise or --bas-target-noise",
        )


def _on_clock(facts: PlanFacts) -> str:
    """Return what the learning rate's clock shows at the end, if it does not count updates."""
    if facts.clock == "updates":
        return ""
    return f" (its clock, which counts {facts.clock}, ends at {facts.schedule_end:,.0f})"


def smallest_amount(multiples: Sequence[tuple[float, str]]) -> tuple[float, str] | None:
    """Return the smallest of the batches asked for, None if there are none.

    >>> smallest_amount([(2.0, "2x"), (0.5, "32s")])
    (0.5, '32s')
    """
    return min(multiples, default=None)
