"""What copies are worth as a picture: effective batch over M, and correlation, by noise."""

from collections.abc import Sequence
from typing import Any

from .gradient_figure import colour, grouped, new_figure
from .replica_variance_run import CheckpointResult, NoiseResult
from .surface_report import short_names

_LONGEST = 28  # letters of a name
_POINTS = 80


def draw_replica_variance(path: str, results: Sequence[CheckpointResult]) -> None:
    """Draw what copies are worth into a PNG file.

    Left: B_eff / B over M with its band, a dot at the M that is worth its price, and dashed what as
    many distinct sentences would be worth. Right: the correlation between copies with error bars.

    Args:
        path: file to write, 2000 pixels wide.
        results: one for each checkpoint.

    Raises:
        ImportError: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    figure, (worth, correlation) = new_figure("What copies are worth, intervals of 95 %")
    names = short_names([str(result.facts["path"]) for result in results])
    lines = [
        (_label(noise.setting.name, name if len(results) > 1 else ""), noise)
        for name, result in zip(names, results, strict=True)
        for noise in result.noises
    ]
    for number, (_, noise) in enumerate(lines):
        _draw_worth(worth, noise, colour(number))
        rho = noise.found.correlation
        if rho.value is not None:
            error = [[rho.value - rho.low], [rho.high - rho.value]]
            correlation.errorbar(
                rho.value, number, xerr=error, marker="o", capsize=3, color=colour(number)
            )
    offered = sorted({m for _, noise in lines for m in noise.costs})
    _dress_worth(worth, offered, max(n.found.factor(offered[-1]).high for _, n in lines))
    correlation.set_yticks(range(len(lines)), [label for label, _ in lines], fontsize=8)
    correlation.set_ylim(len(lines) - 0.4, -0.6)
    correlation.set_xlim(-0.02, 1.02)
    correlation.set_xlabel("correlation between copies (rho)")
    figure.savefig(path, format="png")


def _draw_worth(panel: Any, noise: NoiseResult, shade: str) -> None:
    points = _points(max(noise.costs))
    worth = [noise.found.factor(m) for m in points]
    low, high = [w.low for w in worth], [w.high for w in worth]
    panel.fill_between(points, low, high, color=shade, alpha=0.2, linewidth=0)
    if all(w.value is not None for w in worth):
        panel.plot(points, [w.value for w in worth], color=shade, linewidth=1.6)
        chosen = noise.choice.replicas
        panel.plot(chosen, noise.found.factor(chosen).value, "o", color=shade)


def _points(largest: int) -> list[float]:
    """Return M from 1 on, evenly spaced on a logarithmic axis."""
    return [largest ** (i / _POINTS) for i in range(_POINTS + 1)]


def _dress_worth(panel: Any, offered: Sequence[int], largest: float) -> None:
    from matplotlib.ticker import NullLocator

    top = max(1.5, largest * 1.15)
    label = "M times as many distinct sentences"
    points = _points(offered[-1])
    panel.plot(points, points, "--", color="0.5", linewidth=1, label=label)
    panel.plot([], [], "o", color="0.4", label="the M that is worth its price")
    panel.legend(frameon=False, fontsize=8, loc="upper right")
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(grouped)
    panel.set_xticks(offered)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_ylim(1 - 0.04 * (top - 1), top)
    panel.set_xlabel("copies of every sentence (M)")
    panel.set_ylabel("worth of the batch (B_eff / B)")


def _label(noise: str, checkpoint: str) -> str:
    """Return the name of a noise, with that of the checkpoint where there are several."""
    short = noise if len(noise) <= _LONGEST else f"{noise[: _LONGEST - 1]}…"
    return "\n".join(filter(None, (checkpoint, short)))
