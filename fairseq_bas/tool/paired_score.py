"""Corpus scores of several systems, with confidence intervals and paired tests by sacreBLEU.

The numbers are sacreBLEU's own, except for p-values of systems that hardly differ, see
`bounded_p_value`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .system_score import MetricScore, ScoreSettings, SystemScore
from .text_check import check_texts

_SACREBLEU_TEST = {"bootstrap": "bs", "randomization": "ar"}


def score_systems(
    systems: Mapping[str, Sequence[str]],
    references: Mapping[str, Sequence[str]],
    settings: ScoreSettings | None = None,
    allow_subword: bool = False,
) -> list[SystemScore]:
    """Score systems on one test set and test each against the first.

    Scores are of the corpus: counts are summed over sentences before the formula of the metric.

    Args:
        systems: name -> detokenised hypotheses, one a sentence; the first is the baseline.
        references: name -> raw reference translations, one a sentence. With several, each
            sentence has several references.
        settings: metrics and test; the defaults if None.
        allow_subword: score text with ``@@`` or ``▁`` in it.

    Returns:
        The scores of each system, in the given order.

    Raises:
        ValueError: if the texts cannot be scored, the tokenizer is unknown or not installed, or a
            randomisation test is asked of a single system.

    Example:
        >>> text = ["The cat sat on the mat.", "A dog barked at the old tree."]
        >>> [system] = score_systems({"copy": text}, {"ref": text}, ScoreSettings(test="none"))
        >>> round(system.metrics["BLEU"].score, 2), round(system.metrics["TER"].score, 2)
        (100.0, 0.0)
    """
    settings = settings or ScoreSettings()
    check_texts(systems, references, allow_subword)
    if settings.test == "randomization" and len(systems) == 1:
        raise ValueError(
            "--test randomization compares systems, but only one was given; "
            "add a system, or pass --test bootstrap for a confidence interval"
        )
    named = [(name, list(lines)) for name, lines in systems.items()]
    metrics = _make_metrics(settings, [list(lines) for lines in references.values()])
    if settings.test == "none":
        return [SystemScore(name, _plain_scores(metrics, lines)) for name, lines in named]
    return _tested_scores(named, metrics, settings)


def bounded_p_value(p_value: float, difference: float, differing: int) -> float:
    """Raise a p-value to what the number of differing sentences allows.

    sacreBLEU counts only trials whose difference is *larger* than the observed one, so two equal
    systems get the smallest p-value there is, 1 / (trials + 1), and so do two systems that differ
    in one sentence under randomisation. A two-sided randomisation test has 2^k assignments of the k
    differing sentences, of which the observed one and its mirror image reach the observed
    difference, hence ``p >= 2^(1 - k)``. With 10000 trials the bound does nothing from k = 15 on.

    Args:
        p_value: sacreBLEU's, in (0, 1].
        difference: score minus score of the baseline.
        differing: k, the sentences in which the two outputs differ.

    Returns:
        1 if the scores are equal, else the larger of ``p_value`` and the bound.

    Example:
        >>> bounded_p_value(0.001, 0.0, 0), bounded_p_value(0.001, 0.2, 3)
        (1.0, 0.25)
    """
    return 1.0 if difference == 0 else max(p_value, 2.0 ** (1 - differing))


@contextmanager
def sacrebleu_seed(seed: int) -> Iterator[None]:
    """Set sacreBLEU's seed, which it reads from the environment, and put the old one back.

    Args:
        seed: seed, >= 1.

    Yields:
        Nothing.
    """
    previous = os.environ.get("SACREBLEU_SEED")
    os.environ["SACREBLEU_SEED"] = str(seed)
    try:
        yield
    finally:
        if previous is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = previous


def _make_metrics(settings: ScoreSettings, references: list[list[str]]) -> dict[str, Any]:
    """Return sacreBLEU's metric objects, with the statistics of the references cached."""
    from sacrebleu.metrics import BLEU, CHRF, TER

    if settings.tokenize not in BLEU.TOKENIZERS:
        choices = ", ".join(BLEU.TOKENIZERS)
        raise ValueError(f"--tokenize {settings.tokenize} is unknown; choose from {choices}")
    metrics: dict[str, Any] = {}
    for name in settings.metrics:
        if name == "bleu":
            try:
                # ``force`` only silences a warning that text_check gives for every metric.
                metrics[name] = BLEU(
                    lowercase=settings.lowercase,
                    tokenize=settings.tokenize,
                    force=True,
                    references=references,
                )
            except (ImportError, RuntimeError) as error:
                raise ValueError(
                    f"--tokenize {settings.tokenize} cannot be used: {error}"
                ) from error
        elif name == "chrf":
            metrics[name] = CHRF(lowercase=settings.lowercase, references=references)
        else:
            metrics[name] = TER(references=references)
    return metrics


def _plain_scores(metrics: Mapping[str, Any], hypotheses: list[str]) -> dict[str, MetricScore]:
    """Score one system without a test."""
    results = {}
    for metric in metrics.values():
        result = metric.corpus_score(hypotheses, None)
        results[result.name] = MetricScore(result.score, str(metric.get_signature()))
    return results


def _tested_scores(
    named: list[tuple[str, list[str]]], metrics: Mapping[str, Any], settings: ScoreSettings
) -> list[SystemScore]:
    """Score all systems and test each against the first."""
    from sacrebleu.significance import PairedTest

    with sacrebleu_seed(settings.seed):
        test_type = _SACREBLEU_TEST[settings.test]
        test: Any = PairedTest([*named], metrics, None, test_type, n_samples=settings.num_trials)
        signatures, columns = test()
    systems = []
    for index, (name, lines) in enumerate(named):
        differing = sum(a != b for a, b in zip(lines, named[0][1], strict=True))
        scores = {}
        for metric, signature in signatures.items():
            baseline, result = columns[metric][0], columns[metric][index]
            p_value = result.p_value
            if p_value is not None:
                p_value = bounded_p_value(p_value, result.score - baseline.score, differing)
            scores[metric] = MetricScore(
                score=float(result.score),
                signature=str(signature),
                # NumPy numbers of either precision, as sacreBLEU leaves them.
                mean=None if result.mean is None else float(result.mean),
                ci=None if result.ci is None else float(result.ci),
                p_value=p_value,
            )
        systems.append(SystemScore(name, scores))
    return systems
