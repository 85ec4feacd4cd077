"""Tables of the simulator, as text."""

import math
import statistics
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
TOLERANCE = 0.15  # of a prediction that counts as right


def parts_table(found: dict[str, Any]) -> str:
    """Return the parts of an update, measured or given."""
    lines = []
    for name, label in (
        ("pass_fixed", "pass, fixed"),
        ("micro_batch", "micro-batch beside its passes"),
        ("optimizer", "optimizer step"),
        ("update", "rest of an update"),
        ("flatten", "gradient into a buffer and back"),
    ):
        lines.append(f"  {label:34}{1e3 * found[name]:9.3f} ms")
    lines.append(f"  {'pass, each padded position':34}{1e6 * found['token']:9.3f} us")
    for name in ("collate", "transfer"):
        fixed, position = found[name]
        lines.append(f"  {name:34}{1e3 * fixed:9.3f} ms + {1e6 * position:.3f} us a position")
    network = found.get("network")
    if network:
        lines.append(
            f"  {'all-reduce, ' + str(network['workers']) + ' workers':34}"
            f"{1e6 * network['latency']:9.1f} us a message, {network['bandwidth'] / 1e9:.2f} GB/s"
        )
    lines.append(
        f"  {'contention':34}{found['contention']:9.3f} with {found['contention_of']} processes"
    )
    lines.append(
        f"  {'gradient':34}{found['gradient_bytes'] / 1e6:9.2f} MB; a micro-batch has "
        f"{found['tokens']:.0f} target tokens"
    )
    if "fit" in found:
        lines.append(
            f"  fit of passes: {len(found['fit']['passes'])} times, median error "
            f"{found['fit']['median_error']:.1%}, greatest {found['fit']['greatest_error']:.0%}"
        )
    return "\n".join(["parts of an update, of one process alone", *lines])


def check_table(rows: Rows) -> str:
    """Return predicted against measured, a line a job, and the verdict."""
    lines = [f"{'processes':>9}  {'placement':17}{'M':>3}{'predicted':>12}{'measured':>12}  error"]
    lines[0] += "   of no copies: predicted, measured"
    for row in rows:
        copies, ratio = row["replicas"] or "", ""
        if "measured_ratio" in row:
            ratio = f"{row['predicted_ratio']:16.2f}{row['measured_ratio']:10.2f}"
        lines.append(
            f"{row['workers']:>9}  {row['placement']:17}{copies:>3}"
            f"{1e3 * row['predicted']:9.1f} ms{1e3 * row['measured']:9.1f} ms{row['error']:+7.0%}"
            f"{ratio}  ({1e3 * row['least']:.1f} to {1e3 * row['most']:.1f} ms)"
            f"{'  fitted' if row.get('fitted') else ''}"
        )
    return "\n".join([*lines, verdict(rows)])


def verdict(rows: Rows) -> str:
    """Say whether the simulator is validated, and where not."""
    trained = [row for row in rows if row["replicas"] and not row.get("fitted")]
    off = [row for row in trained if abs(row["error"]) > TOLERANCE]
    errors = [abs(row["error"]) for row in trained]
    ratios = [r["predicted_ratio"] / r["measured_ratio"] - 1 for r in trained if r["replicas"] > 1]
    right = sum(abs(error) <= TOLERANCE for error in ratios)
    text = (
        f"ratios to no copies: {right} of {len(ratios)} within {TOLERANCE:.0%}\n"
        f"times: {len(trained) - len(off)} of {len(trained)} within {TOLERANCE:.0%}, "
        f"median error {statistics.median(errors):.0%}, greatest {max(errors):.0%}: "
    )
    if not off:
        return text + f"validated for {max(row['workers'] for row in trained)} processes here"
    names = [f"{r['workers']} x {r['placement']} M = {r['replicas']}" for r in off]
    return text + "NOT validated for " + ", ".join(names)


def grid(rows: Rows, title: str, text_of: Callable[[dict[str, Any]], str]) -> str:
    """Return a table with a line for each placement and M and a column for each W.

    Args:
        rows: what ``predict`` or ``compare_with_text`` gave.
        title: what the cells say.
        text_of: makes the cell of a row, at most seven characters.
    """
    workers = sorted({row["workers"] for row in rows})
    lines: dict[tuple[str, int], dict[int, str]] = {}
    for row in rows:
        name = row["placement"] if row["replicas"] > 1 else "no copies"
        lines.setdefault((name, row["replicas"]), {})[row["workers"]] = text_of(row)
    text = [title, f"{'workers':>14}" + "".join(f"{w:>9}" for w in workers)]
    for (placement, copies), cells in lines.items():
        name = placement if copies == 1 else f"{placement} {copies}"
        text.append(f"{name:14}" + "".join(f"{cells.get(w, '-'):>9}" for w in workers))
    return "\n".join(text)


def short(value: float) -> str:
    """Write a number in at most seven characters.

    >>> [short(value) for value in (0.01234, 1.5, 1234.56, 123456.0, 1.2e9, float("inf"))]
    ['0.0123', '1.5', '1235', '123456', '1.2e+09', 'any']
    """
    if math.isinf(value):
        return "any"
    if value < 1000:
        return f"{value:.3g}"
    return f"{value:.0f}" if value < 1e7 else f"{value:.1e}"


def conclusion(compared: Rows) -> str:
    """Say where copies beat distinct sentences on equal workers, by variance and time alone."""
    lines = ["copies against as many rows of distinct sentences on the same workers:"]
    for placement in ("workers", "rows", "passes"):
        rows = [row for row in compared if row["placement"] == placement]
        if not rows:
            continue
        times, batches = [[row[name] for row in rows] for name in ("time", "effective")]
        line = (
            f"  {placement}: an update takes {min(times):.3f} to {max(times):.3f} of the time and "
            f"is worth {min(batches):.2f} to {max(batches):.2f} of the batch; "
        )
        winning = [row for row in rows if row["wins"][1] > row["wins"][0]]
        if winning:
            best = max(winning, key=lambda row: row["wins"][1] / row["other_batch"])
            line += (
                f"faster to quality, by {1 - min(times):.1%} at most, in {len(winning)} of "
                f"{len(rows)} jobs, and only if the critical batch is small: below "
                f"{short(best['wins'][1] / best['other_batch'])} of the other side's batch in the "
                f"best case (M = {best['replicas']}, {best['workers']} workers)"
            )
        else:
            line += "never faster to quality"
        lines.append(line)
    return "\n".join(lines)
