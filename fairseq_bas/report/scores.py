"""Scores of translations for the report: read from ``fairseq-bas score --json``, or made here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..tool.hypotheses import read_hypotheses, read_reference
from ..tool.system_score import MetricScore, ScoreSettings, SystemScore
from ..tool.training_run import TrainingRun


@dataclass(frozen=True)
class Scores:
    """Hold the scores of systems on one test set.

    Args:
        source: file of the scores, or the reference.
        test: name of the paired test against the first system; ``none`` without.
        trials: of the test.
        systems: the first is the baseline.
    """

    source: str
    test: str
    trials: int
    systems: Sequence[SystemScore]

    @property
    def metrics(self) -> list[str]:
        """Return the names of the metrics."""
        return list(self.systems[0].metrics)


def read_scores(path: str) -> Scores:
    """Read what ``fairseq-bas score --json`` wrote.

    Args:
        path: its file.

    Raises:
        ValueError: if the file cannot be read or is something else.
    """
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        test = document["test"]
        systems = [_system(system) for system in document["systems"]]
        scores = Scores(path, str(test["type"]), int(test["trials"]), systems)
        if any(list(system.metrics) != scores.metrics for system in systems):
            raise ValueError("systems have different metrics")
        return scores
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check --scores") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not what fairseq-bas score --json writes; check --scores"
        ) from error


def score_runs(
    runs: Sequence[TrainingRun],
    references: Sequence[str],
    settings: ScoreSettings,
    allow_subword: bool = False,
) -> Scores:
    """Score the translations that lie beside the logs, ``*.gen``.

    Args:
        runs: those without translations are left out.
        references: files, one sentence a line.
        settings: metrics and test.
        allow_subword: score text with ``@@`` or ``▁`` in it.

    Raises:
        ValueError: if no run has translations or they cannot be scored.
    """
    from ..tool.paired_score import score_systems  # sacreBLEU takes time to import

    files = translations_of(runs)
    if not files:
        raise ValueError(
            "--ref was given, but no run has translations; write the output of fairseq-generate to "
            "a file .gen in the folder of the run"
        )
    texts = {name: read_hypotheses(path).sentences for name, path in files.items()}
    read = {path: read_reference(path) for path in references}
    systems = score_systems(texts, read, settings, allow_subword)
    return Scores(", ".join(references), settings.test, settings.num_trials, systems)


def translations_of(runs: Sequence[TrainingRun]) -> dict[str, str]:
    """Return the files of translations by the names of their systems.

    Args:
        runs: a run with several files has a system for each.
    """
    files = {}
    for run in runs:
        for path in run.hypotheses:
            stem = path.rpartition("/")[2].removesuffix(".gen")
            files[run.name if len(run.hypotheses) == 1 else f"{run.name}, {stem}"] = path
    return files


def _system(raw: Mapping[str, Any]) -> SystemScore:
    metrics = {str(name): _metric(metric) for name, metric in raw["metrics"].items()}
    if not metrics:
        raise ValueError("a system has no metric")
    return SystemScore(str(raw["name"]), metrics)


def _metric(raw: Mapping[str, Any]) -> MetricScore:
    def optional(key: str) -> float | None:
        return None if raw.get(key) is None else float(raw[key])

    return MetricScore(
        float(raw["score"]),
        str(raw["signature"]),
        *(optional("mean"), optional("ci"), optional("p_value")),
    )
