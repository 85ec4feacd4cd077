"""Print the tables of scripts/bench/replica_curve.sh as Markdown.

Only what was trained to the length of a row and translated enters it: see its column of seeds.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# So that it runs where the package is not installed, beside fairseq-train --user-dir.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.hypotheses import read_hypotheses, read_reference
from fairseq_bas.tool.paired_score import score_systems
from fairseq_bas.tool.run_log import RunLog, read_run_log
from fairseq_bas.tool.system_score import MetricScore, ScoreSettings

Key = tuple[str, int]  # kind of run, updates

NOTE = """Mean over seeds (lowest to highest). N times the updates or the batch is the compute of N
copies. Minutes are those spent in updates, whatever else the machine did. p of each seed: paired
bootstrap against the baseline of this seed after {updates} updates."""


@dataclass(frozen=True)
class Result:
    """A run after some updates: its log until then, and the BLEU of its checkpoint."""

    log: RunLog
    bleu: MetricScore


@dataclass(frozen=True)
class Bench:
    """A folder of runs named ``KIND-seedN``, and what was asked of them.

    Args:
        runs: the folder.
        updates: U, the length of the runs with copies.
        replicas: the values of M, which are also the factors of the larger batches.
        logs: (kind, seed) -> log, for those of the ``seeds`` that have one.
    """

    runs: Path
    updates: int
    replicas: Sequence[int]
    seeds: Sequence[int]
    logs: Mapping[Key, RunLog]

    def finished(self, kind: str, updates: int) -> dict[int, RunLog]:
        """Return seed -> log up to an update, for the runs that were validated there."""
        found = {}
        for seed in self.seeds:
            log = self.logs.get((kind, seed))
            if log and any(point.updates == updates for point in log.valid):
                found[seed] = log.until(updates)
        return found

    def missing(self, kind: str, updates: int, seeds: Sequence[int]) -> str:
        """Say how far the furthest run of a kind is."""
        logs = [self.logs[kind, seed] for seed in seeds if (kind, seed) in self.logs]
        reached = max((log.updates for log in logs), default=-1)
        if reached < updates:
            return "not run" if reached < 0 else f"not finished ({reached} of {updates} updates)"
        return "not translated"


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--ref", required=True, help="raw reference of the test set")
    parser.add_argument("--updates", type=int, required=True, help="updates of a run with copies")
    parser.add_argument("--replicas", type=_numbers, required=True, metavar='"2 4 8"')
    parser.add_argument("--seeds", type=_numbers, required=True, metavar='"1 2"')
    args = parser.parse_args()
    with refuse_with():
        bench = read_bench(args.runs, args.updates, args.replicas, args.seeds)
        results = score(bench, read_reference(args.ref))
    print("\n\n".join([result_table(bench, results), curve_table(bench), reach_table(bench)]))


def _numbers(text: str) -> list[int]:
    """Return the integers of ``"2 4 8"``."""
    return [int(word) for word in text.split()]


def read_bench(runs: Path, updates: int, replicas: Sequence[int], seeds: Sequence[int]) -> Bench:
    """Read the logs that are there.

    Raises:
        ValueError: if nothing was asked for, or no run has a log yet.
    """
    if updates < 10 or not replicas or not seeds:
        raise ValueError(
            f"--updates {updates} --replicas {replicas} --seeds {seeds} asks for no run; give 10 "
            "updates or more, and at least one M and one seed"
        )
    kinds = ["baseline", *(f"{way}-x{m}" for m in replicas for way in ("copies", "batch"))]
    logs = {}
    for kind in kinds:
        for seed in seeds:
            path = runs / f"{kind}-seed{seed}" / "train.log"
            try:
                logs[kind, seed] = read_run_log(str(path))
            except ValueError as error:
                if path.exists():  # a run that has just begun is no reason to stop
                    print(error, file=sys.stderr)
    if not logs:
        raise ValueError(
            f"{runs} has no run such as baseline-seed{seeds[0]} with a train.log; check the folder"
        )
    return Bench(runs, updates, replicas, seeds, logs)


def rows_of(bench: Bench) -> list[tuple[str, Key]]:
    """Return the rows of the table of results: what is said of a row, and its runs."""
    base = ("baseline, M = 1", ("baseline", bench.updates))
    copies = [(f"M = {m} copies", (f"copies-x{m}", bench.updates)) for m in bench.replicas]
    longer = [(f"{m} times the updates", ("baseline", m * bench.updates)) for m in bench.replicas]
    larger = [(f"{m} times the batch", (f"batch-x{m}", bench.updates)) for m in bench.replicas]
    return [base, *copies, *longer, *larger]


def score(bench: Bench, reference: Sequence[str]) -> dict[Key, dict[int, Result]]:
    """Score what was translated, each seed against the baseline of this seed.

    Returns:
        (kind, updates) -> seed -> result; no p-values for a seed whose baseline is missing.

    Raises:
        ValueError: if a translation cannot be read or scored.
    """
    results: dict[Key, dict[int, Result]] = {key: {} for _, key in rows_of(bench)}
    for seed in bench.seeds:
        logs, texts = {}, {}
        for kind, updates in results:
            log = bench.finished(kind, updates).get(seed)
            # Made from checkpoint_EPOCH_UPDATES.pt.
            found = [*(bench.runs / f"{kind}-seed{seed}").glob(f"checkpoint_*_{updates}.gen")]
            if log and found:
                logs[kind, updates] = log
                texts[f"{kind} {updates}"] = read_hypotheses(str(found[-1])).sentences
        if not texts:
            continue
        tested = ("baseline", bench.updates) in logs
        settings = ScoreSettings(metrics=("bleu",), test="bootstrap" if tested else "none")
        scores = score_systems(texts, {"reference": reference}, settings)
        for (key, log), system in zip(logs.items(), scores, strict=True):
            results[key][seed] = Result(log, system.metrics["BLEU"])
    return results


_MEASURES: dict[str, tuple[Callable[[Result], float], str]] = {
    "BLEU": (lambda result: result.bleu.score, ".2f"),
    "valid loss, last": (lambda result: result.log.valid[-1].loss, ".3f"),
    "best": (lambda result: result.log.best.loss if result.log.best else math.nan, ".3f"),
    "target tokens (thousands)": (lambda result: result.log.total.tokens / 1000, ",.0f"),
    "with copies": (lambda result: result.log.total.replicated_tokens / 1000, ",.0f"),
    "minutes": (lambda result: result.log.train_minutes, ".1f"),
}


def result_table(bench: Bench, results: Mapping[Key, Mapping[int, Result]]) -> str:
    """Return the table of BLEU, losses, tokens and minutes, with sacreBLEU's signature below."""
    lines = _head(["system", "updates", "seeds", *_MEASURES, "p"])
    for label, (kind, updates) in rows_of(bench):
        found = results[kind, updates]
        if not found:
            why = bench.missing(kind, updates, bench.seeds)
            lines.append(_line([label, updates, "", why, *[""] * len(_MEASURES)]))
            continue
        cells = [
            spread([measure(result) for result in found.values()], form)
            for measure, form in _MEASURES.values()
        ]
        p_values = [result.bleu.p_value for result in found.values()]
        cells.append(" ".join("-" if p is None else f"{p:.3f}" for p in p_values))
        lines.append(_line([label, updates, " ".join(map(str, found)), *cells]))
    signatures = {result.bleu.signature for row in results.values() for result in row.values()}
    lines += ["", NOTE.format(updates=bench.updates), ""]
    return "\n".join(lines + [f"BLEU: `{signature}`" for signature in sorted(signatures)])


def curve_table(bench: Bench) -> str:
    """Return the validation loss at each tenth of U, mean over the seeds that were trained to U."""
    tenths = [count * (bench.updates // 10) for count in range(1, 10)] + [bench.updates]
    lines = _head(["valid loss after updates", "seeds", *tenths])
    for label, (kind, updates) in rows_of(bench)[: 1 + len(bench.replicas)]:
        logs = bench.finished(kind, updates)
        if not logs:
            lines.append(_line([label, "", bench.missing(kind, updates, bench.seeds), *[""] * 9]))
            continue
        losses = [{point.updates: point.loss for point in log.valid} for log in logs.values()]
        # A validation whose line was lost makes the mean NaN.
        means = [sum(loss.get(at, math.nan) for loss in losses) / len(losses) for at in tenths]
        cells = ["-" if math.isnan(mean) else f"{mean:.3f}" for mean in means]
        lines.append(_line([label, " ".join(map(str, logs)), *cells]))
    return "\n".join(lines)


def reach_table(bench: Bench) -> str:
    """Return the updates each M needs for the baseline's best validation loss."""
    title = "updates to reach the baseline's best valid loss"
    lines = _head([title, *(f"seed {seed}" for seed in bench.seeds)])
    baselines = bench.finished("baseline", bench.updates)
    for label, (kind, updates) in rows_of(bench)[: 1 + len(bench.replicas)]:
        logs = bench.finished(kind, updates)
        cells = [
            reach_cell(baselines.get(seed), logs[seed])
            if seed in logs
            else bench.missing(kind, updates, [seed])
            for seed in bench.seeds
        ]
        lines.append(_line([label, *cells]))
    lines += ["", "Linear between validations. In parentheses: the baseline's updates by these."]
    return "\n".join(lines)


def reach_cell(baseline: RunLog | None, log: RunLog) -> str:
    """Say when a run reached the baseline's best validation loss, both up to U, or why not."""
    if baseline is None or baseline.best is None:
        return "no baseline"
    reached = log.updates_to_reach(baseline.best.loss)
    if reached is None:
        return f"not reached (best {log.best.loss:.3f})" if log.best else "not reached"
    return f"{reached:.0f} ({baseline.best.updates / reached:.2f})"


def spread(values: Sequence[float], form: str) -> str:
    """Write the mean, and the lowest and highest where they differ as written."""
    low, high = format(min(values), form), format(max(values), form)
    mean = format(sum(values) / len(values), form)
    return mean if low == high else f"{mean} ({low} to {high})"


def _head(cells: Sequence[object]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
