"""What to go on from when the newest checkpoint of a run turns out to be damaged."""

import contextlib
import itertools
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint import damage, unsafe_globals, updates_of

# Names that fairseq gives the checkpoints of a run. Others, such as averages of several, that users
# put beside them hold no state that training could go on from.
_NAMES = re.compile(r"checkpoint(_last|_best|\d+|_\d+_\d+|\.best_.+_-?\d+(\.\d+)?)\.pt")


@dataclass(frozen=True)
class Fallback:
    """Name the checkpoint to use in place of a damaged one.

    Attributes:
        path: the newest good checkpoint of the run.
        warning: one line for the user.
    """

    path: Path
    warning: str


def find_fallback(path: str | os.PathLike[str]) -> Fallback | None:
    """Find what to go on from where the newest checkpoint of a run is damaged.

    The damaged file stays in place until a good one replaces it, so that a run which is killed
    before that does not start anew; a second name, ending in ``.damaged``, keeps it for good.

    Args:
        path: the newest checkpoint of the run, in the folder of the others.

    Returns:
        None if it is good, or if it is damaged and there is no other.
    """
    path = Path(path)
    problem = damage(path)
    if problem is None:
        return None
    good = _newest_good(path)
    if good is None:
        return None
    kept = _kept_copy(path)
    note = f"; the damaged file stays as {kept.name}" if kept else ""
    return Fallback(
        good, f"{path} {problem}; training goes on from {good.name}{_distance(path, good)}{note}"
    )


def _newest_good(path: Path) -> Path | None:
    """Return the sibling with most updates that can be loaded, of several the one saved last."""
    siblings = [
        sibling
        for sibling in path.parent.glob("checkpoint*.pt")
        if sibling.name != path.name and _NAMES.fullmatch(sibling.name)
    ]
    # Reading how many updates a file has is cheap; whether it is good may need all of it.
    ages = {sibling: (updates_of(sibling) or 0, sibling.stat().st_mtime) for sibling in siblings}
    for sibling in sorted(siblings, key=ages.__getitem__, reverse=True):
        if damage(sibling) is None and not unsafe_globals(sibling):
            return sibling
    return None


def _distance(path: Path, good: Path) -> str:
    """Say how much the good checkpoint is behind the damaged one."""
    ahead, behind = updates_of(path), updates_of(good)
    if behind is None:
        return ""
    if ahead is None:
        return f" (update {behind}), and the updates after it are done again"
    count = ahead - behind
    return f" (update {behind}), and the {count} update{'s' * (count != 1)} after it are done again"


def _kept_copy(path: Path) -> Path | None:
    """Give the damaged file a second name; return it, or None if that cannot be done."""
    for number in itertools.count(1):
        kept = path.with_name(f"{path.name}.damaged" + (f"-{number}" if number > 1 else ""))
        with contextlib.suppress(FileNotFoundError):
            if os.path.samefile(path, kept):
                return kept
        try:
            os.link(path, kept)
            return kept
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            with contextlib.suppress(OSError):
                shutil.copy2(path, kept)
                return kept
            return None
    return None
