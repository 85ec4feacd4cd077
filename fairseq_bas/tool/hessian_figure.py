"""The spectra of checkpoints side by side as a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .hessian_run import Curvature
from .surface_report import short_names

# Okabe and Ito's colours, which colour-blind readers tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DECADES = 8  # of density below the highest, beyond which there is only rounding


def draw_hessian(path: str, results: Sequence[Curvature]) -> None:
    """Draw spectral densities and eigenvalues of every checkpoint into a PNG file.

    The density has a logarithmic axis, on which single eigenvalues away from the bulk can be seen.

    Args:
        path: file to write, 2000 pixels wide, made to be read at 1000.
        results: one a colour, all with the same parts. Colours repeat after 6.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    has_density = results[0].density is not None
    has_values = results[0].top is not None or results[0].smallest is not None
    widths = [3.0] * has_density + [2.0] * has_values
    figure = Figure(figsize=(10 if len(widths) == 2 else 7, 4.2), dpi=200, layout="constrained")
    panels = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    names = short_names([result.facts["path"] for result in results])
    if has_density:
        _draw_densities(panels[0], results)
    if has_values:
        _draw_eigenvalues(panels[-1], results)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
    handles = [Line2D([], [], color=_colour(index)) for index in range(len(names))]
    figure.legend(handles, names, loc="outside upper left", frameon=False, fontsize=9, ncols=4)
    figure.savefig(path, format="png")


def _draw_densities(panel: Any, results: Sequence[Curvature]) -> None:
    highest = 0.0
    for index, result in enumerate(results):
        if result.density is None:
            continue
        grid, values = result.density.grid.numpy(), result.density.values.numpy()
        highest = max(highest, float(values.max()))
        # Nothing at all cannot be drawn on a logarithmic axis.
        visible = np.maximum(values, np.finfo(float).tiny)
        panel.plot(grid, visible, color=_colour(index), linewidth=1.4, alpha=0.85)
    panel.set_yscale("log")
    panel.set_ylim(highest / 10**_DECADES, highest * 3)
    panel.set_xlabel("eigenvalue")
    panel.set_ylabel("share of eigenvalues per unit")


def _draw_eigenvalues(panel: Any, results: Sequence[Curvature]) -> None:
    for index, result in enumerate(results):
        for found, marker in ((result.top, "o"), (result.smallest, "s")):
            if found is None or not found.values:
                continue
            ranks = range(1, len(found.values) + 1)
            panel.errorbar(
                ranks,
                found.values,
                yerr=found.residuals,
                fmt=f"{marker}-",
                color=_colour(index),
                markersize=5,
                linewidth=1,
                capsize=2,
                alpha=0.85,
            )
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel("rank")
    panel.set_ylabel("eigenvalue, with its residual")


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]
