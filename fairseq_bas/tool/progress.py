"""Progress of long measurements on standard error: a bar on a terminal, else lines in time."""

import sys
import time
from typing import Any

_SECONDS = 10.0


class Progress:
    """Count steps and say how far they are.

    On a terminal this is a bar that goes away at the end; elsewhere one line every ten seconds.

    Args:
        what: what is done, e.g. ``sharpness of a.pt``.
        unit: what is counted, in the plural.
        total: how many steps there will be; None if nobody knows.

    Use it as a context manager, and call ``step`` after every step.
    """

    def __init__(self, what: str, unit: str, total: int | None = None):
        self.what, self.unit, self.total = what, unit, total
        self.count = 0
        self._bar: Any = None
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> "Progress":
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, desc=self.what, unit=f" {self.unit}", leave=False)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, count: int = 1) -> None:
        """Count so many steps."""
        self.count += count
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(count)
        elif now - self._said >= _SECONDS:
            self._said = now
            print(self.line(now - self._begun), file=sys.stderr, flush=True)

    def reach(self, count: int) -> None:
        """Note that so many steps are done in all."""
        self.step(count - self.count)

    def line(self, seconds: float) -> str:
        """Return how far it is as one line.

        >>> progress = Progress("landscape", "points", total=25)
        >>> progress.step()
        >>> progress.line(20.4)
        'landscape: 1 of 25 points after 20 s'
        """
        total = f" of {self.total}" if self.total is not None else ""
        return f"{self.what}: {self.count}{total} {self.unit} after {seconds:.0f} s"
