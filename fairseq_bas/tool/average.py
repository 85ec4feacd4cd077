"""Average the weights of checkpoints into one.

The mean is computed in float64 and written with the settings of the checkpoint that has most
updates, without the state of its optimizer: a model to translate or to evaluate with. Averaging
the last checkpoints of a run is part of published results (Vaswani et al. 2017, Ott et al. 2018).
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..checkpoint import updates_of
from ..resilience.digest import save_with_digest
from ..resilience.whole_file import write_whole
from ..safe_load import load_checked
from .report_files import check_reports

_HALF = (torch.float16, torch.bfloat16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command.

    Args:
        parser: parser of ``fairseq-bas average``.
    """
    add = parser.add_argument
    add("checkpoints", nargs="+", metavar="CKPT", help="checkpoint of fairseq-train")
    add("--out", required=True, metavar="FILE", help="checkpoint to write")
    add(
        "--last",
        type=int,
        metavar="N",
        help="average only the N with most updates, one of each number of updates (default: all)",
    )


def run(args: argparse.Namespace) -> int:
    """Average the checkpoints and write the result.

    Args:
        args: what `add_arguments` asked for.

    Returns:
        0.

    Raises:
        ValueError: if a checkpoint is refused, or they are not of one model.
        OSError: if the result cannot be written.
    """
    check_reports([args.out], inputs=args.checkpoints)
    paths = newest(args.checkpoints, args.last) if args.last is not None else args.checkpoints
    state = average_checkpoints(paths)
    write_whole(args.out, lambda file: save_with_digest(state, file))
    print(f"{args.out}: the average of {', '.join(map(os.path.basename, paths))}")
    return 0


def newest(paths: Sequence[str], count: int) -> list[str]:
    """Return the checkpoints with most updates, one of each number of updates.

    Args:
        paths: checkpoints.
        count: how many, >= 1; fewer are returned where there are no more.

    Returns:
        Paths by rising updates.

    Raises:
        ValueError: if the count is not positive, or a file does not say its updates.
    """
    if count < 1:
        raise ValueError(f"--last {count} is not positive; pass 1 or more, or leave it out")
    by_updates: dict[int, str] = {}
    for path in paths:
        updates = updates_of(path)
        if updates is None:
            raise ValueError(f"{path} is no checkpoint of fairseq-train; leave it out")
        by_updates.setdefault(updates, path)
    return [by_updates[updates] for updates in sorted(by_updates)[-count:]]


def average_checkpoints(paths: Sequence[str]) -> dict[str, Any]:
    r"""Return the checkpoint of mean weights :math:`\frac{1}{n}\sum_{i=1}^n \theta_i`.

    Args:
        paths: n >= 1 checkpoints of one model, loaded one at a time.

    Returns:
        What fairseq saves, with the settings of the last path, and without an optimizer's state.

    Raises:
        ValueError: if a checkpoint is refused, or the weights have other names or shapes.
    """
    total: dict[str, Tensor] = {}
    state: dict[str, Any] = {}
    for path in paths:
        state = load_checked(path)
        if total:
            _require_same(total, state["model"], paths[0], path)
        _add(total, state["model"])
    state["model"] = {
        name: (total[name] / len(paths)).to(_kept_type(weight))
        if weight.is_floating_point()
        else weight.clone()
        for name, weight in state["model"].items()
    }
    state.pop("last_optimizer_state", None)
    return state


def _add(total: dict[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        part = weight.double() if weight.is_floating_point() else weight
        total[name] = total[name] + part if name in total and part.is_floating_point() else part


def _kept_type(weight: Tensor) -> torch.dtype:
    """Return float32 for half precision, in which a mean would be rounded."""
    return torch.float32 if weight.dtype in _HALF else weight.dtype


def _require_same(
    first: Mapping[str, Tensor], other: Mapping[str, Tensor], path: str, other_path: str
) -> None:
    """Refuse weights that are not those of the first checkpoint's model."""
    for name in (*first, *other):
        shapes = [tuple(w[name].shape) if name in w else None for w in (first, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{other_path} is of another model than {path}: {name} is "
                f"{shapes[1] or 'missing'} and was {shapes[0] or 'missing'}; average checkpoints "
                "of one run"
            )
