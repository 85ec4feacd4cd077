"""Print the table of scripts/bench/noise_grid.sh as Markdown: a row for each system.

A run is a folder ``SYSTEM-seedN`` with ``train.log``, of ``fairseq-train --log-format json``, and
``test.gen``, the log of ``fairseq-generate`` from the checkpoint with the best validation loss.
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replica_table import spread  # beside this file; makes the package importable, too

from fairseq_bas.errors import refuse_with
from fairseq_bas.tool.hypotheses import read_hypotheses, read_reference
from fairseq_bas.tool.paired_score import score_systems
from fairseq_bas.tool.run_log import RunLog, read_run_log
from fairseq_bas.tool.system_score import MetricScore, ScoreSettings

NOTE = """Mean over seeds {seeds} (lowest to highest). BLEU and nll are those of the checkpoint with
the best validation loss; losses are in bits a target token. Minutes are those spent in updates,
whatever else the machine did. p of each seed: paired bootstrap against {baseline} of this seed."""

LOGGED = ("replica_std", "bas_consistency", "bas_distinct")
"""What runs with copies log in training, where their flags ask for it."""

_TRAINING = re.compile(r".*\| INFO \| (train_inner|train) \| (\{.*\})\s*")


@dataclass(frozen=True)
class Result:
    """A finished run: its log, what it logged last of `LOGGED`, and the BLEU of its translation."""

    log: RunLog
    logged: Mapping[str, float]
    bleu: MetricScore


Measure = Callable[[Result], float]
_MEASURES: dict[str, tuple[Measure, str]] = {
    "updates": (lambda result: result.log.updates, ".0f"),
    "BLEU": (lambda result: result.bleu.score, ".2f"),
    "valid nll": (lambda result: result.log.best.nll_loss if result.log.best else math.nan, ".3f"),
    "valid loss, best": (
        lambda result: result.log.best.loss if result.log.best else math.nan,
        ".3f",
    ),
    "last": (lambda result: result.log.valid[-1].loss if result.log.valid else math.nan, ".3f"),
    "replica_std": (lambda result: result.logged.get("replica_std", math.nan), ".3f"),
    "bas_consistency": (lambda result: result.logged.get("bas_consistency", math.nan), ".3f"),
    "bas_distinct": (lambda result: result.logged.get("bas_distinct", math.nan), ".3f"),
    "minutes": (lambda result: result.log.train_minutes, ".1f"),
}


def main() -> None:
    """Print the table, a note and sacreBLEU's signature."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--ref", required=True, help="raw reference of the test set")
    parser.add_argument("--systems", type=Path, required=True, help="list given to noise_grid.sh")
    parser.add_argument("--seeds", type=str.split, required=True, metavar='"1 2"')
    args = parser.parse_args()
    with refuse_with():
        systems = read_systems(args.systems)
        results = score(args.runs, systems, args.seeds, read_reference(args.ref))
    print(result_table(results, systems, args.seeds))


def read_systems(path: Path) -> dict[str, str]:
    """Return name -> flags of each system, as ``lib_grid.sh`` reads them; @NAME stays as written.

    Raises:
        ValueError: if the file cannot be read or names no system.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); check --systems") from error
    words = [line.partition("#")[0].split() for line in lines]
    systems = {
        name: " ".join(flags) for name, *flags in filter(None, words) if "=" not in flags[:1]
    }
    if not systems:
        raise ValueError(f"{path} names no system; write a name and flags on each line")
    return systems


def score(
    runs: Path, systems: Sequence[str] | Mapping[str, str], seeds: Sequence[str], ref: Sequence[str]
) -> dict[str, list[Result]]:
    """Read and score all runs, each seed against the first system of this seed.

    Args:
        runs: folder of the runs.
        systems: names, the baseline first.
        seeds: seeds, as in the names of the folders.
        ref: reference sentences.

    Returns:
        System -> its results in the order of ``seeds``.

    Raises:
        ValueError: if no seed is given, or a run is missing, unfinished or not readable.
    """
    if not seeds:
        raise ValueError("--seeds names no seed; write for example --seeds '1 2'")
    results: dict[str, list[Result]] = {name: [] for name in systems}
    for seed in seeds:
        folders = {name: runs / f"{name}-seed{seed}" for name in systems}
        texts = {
            name: read_hypotheses(_file(folder, "test.gen")).sentences
            for name, folder in folders.items()
        }
        scores = score_systems(texts, {"reference": ref}, ScoreSettings(metrics=("bleu",)))
        for system in scores:
            path = _file(folders[system.name], "train.log")
            result = Result(read_run_log(path), last_logged(path), system.metrics["BLEU"])
            results[system.name].append(result)
    return results


def _file(folder: Path, name: str) -> str:
    if not (folder / name).is_file():
        raise ValueError(
            f"{folder} has no {name}, so this run is missing or not finished; call noise_grid.sh "
            "again, or name only finished runs in --systems and --seeds"
        )
    return str(folder / name)


def last_logged(path: str) -> dict[str, float]:
    """Return the last value of each of `LOGGED` that a log has.

    The mean over the last ``--log-interval`` updates (``train_inner``); for runs too short to have
    one, over the last epoch (``train``).
    """
    found: dict[str, dict[str, float]] = {"train": {}, "train_inner": {}}
    with open(path, encoding="utf-8", errors="replace") as file:
        for match in filter(None, map(_TRAINING.fullmatch, file)):
            try:
                record = json.loads(match[2])
            except ValueError:
                continue  # a killed process leaves half a line
            prefix = "train_" if match[1] == "train" else ""
            values = {key: record[prefix + key] for key in LOGGED if prefix + key in record}
            found[match[1]].update({key: float(value) for key, value in values.items()})
    return {**found["train"], **found["train_inner"]}


def result_table(
    results: Mapping[str, Sequence[Result]], flags: Mapping[str, str], seeds: Sequence[str]
) -> str:
    """Return the Markdown table, its note and the signature; columns without a number are left out.

    Args:
        results: system -> its results, one a seed.
        flags: system -> what it was trained with.
        seeds: what the note names.
    """
    everything = [result for row in results.values() for result in row]
    columns = {
        title: how
        for title, how in _MEASURES.items()
        if not all(math.isnan(how[0](result)) for result in everything)
    }
    lines = [_line(["system", "flags", *columns, "p"]), "|" + "---|" * (len(columns) + 3)]
    for name, row in results.items():
        cells = [
            _cell([measure(result) for result in row], form) for measure, form in columns.values()
        ]
        p_values = [result.bleu.p_value for result in row]
        cells.append(" ".join("-" if p is None else f"{p:.3f}" for p in p_values))
        lines.append(_line([name, f"`{flags[name]}`" if flags[name] else "", *cells]))
    note = NOTE.format(seeds=", ".join(seeds), baseline=next(iter(results)))
    signatures = sorted({f"BLEU: `{result.bleu.signature}`" for result in everything})
    return "\n".join([*lines, "", note, "", *signatures])


def _cell(values: Sequence[float], form: str) -> str:
    """Write mean and range, ``-`` where a run has no such number."""
    return "-" if any(map(math.isnan, values)) else spread(values, form)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
