"""The sharpness of checkpoints side by side as a picture."""

from collections.abc import Sequence

from .sharpness_run import CheckpointSharpness
from .surface_report import short_names

# Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_FLOOR = 1e-6  # where a phi of 0 is drawn on the logarithmic axis


def draw_sharpness(path: str, results: Sequence[CheckpointSharpness]) -> None:
    """Draw phi of every checkpoint for every eps into a PNG file.

    Large dots are phi, small ones what each search found, which shows how much the start matters.

    Args:
        path: file to write, 1600 pixels wide, made to be read at 800.
        results: one a line, all with the same eps. Colours repeat after 6 values of eps.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    names = short_names([result.facts["path"] for result in results])
    figure = Figure(figsize=(8, 1.6 + 0.5 * len(names)), dpi=200, layout="constrained")
    axes = figure.subplots()
    for index, value in enumerate(results[0].values):
        colour = _COLOURS[index % len(_COLOURS)]
        for row, result in enumerate(results):
            found = result.values[index]
            singles = [
                100 * (search.highest - found.loss) / (1 + found.loss) for search in found.searches
            ]
            shown = [max(single, _FLOOR) for single in singles]
            axes.plot(shown, [row] * len(shown), "o", color=colour, markersize=3, alpha=0.5)
            label = f"eps {value.epsilon:g}" if row == 0 else None
            axes.plot(
                max(found.phi, _FLOOR), row, "o", color=colour, markersize=8, alpha=0.8, label=label
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.10g}")
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("sharpness phi (% of 1 + loss)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(
        frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderpad=0
    )
    figure.savefig(path, format="png")
