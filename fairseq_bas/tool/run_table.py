"""The numbers of a log as a table: a column for each name, a row for each line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .learning_curve import RunLog
from .log_lines import Record

LEADING = ("epoch", "updates", "tokens", "replicated_tokens", "hours")
"""Columns that every table has: tokens are target tokens since the start, distinct and with copies
counted; hours those spent in updates."""


@dataclass(frozen=True, eq=False)
class Table:
    """Hold columns of equal length.

    Args:
        columns: name -> values (rows,), float64; NaN where a line does not have them.

    Example:
        >>> table = Table({"updates": np.array([1.0, 2.0]), "loss": np.array([8.0, 7.5])})
        >>> table["loss"][-1], "ppl" in table, len(table), list(table)
        (np.float64(7.5), False, 2, ['updates', 'loss'])
    """

    columns: dict[str, NDArray[np.float64]]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        if name not in self.columns:
            raise KeyError(f"no column {name}; there are {', '.join(self.columns) or 'none'}")
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def get(self, name: str) -> NDArray[np.float64]:
        """Return a column, all NaN if there is none of this name.

        Args:
            name: of the column.
        """
        return self.columns.get(name, np.full(len(self), np.nan))

    def frame(self) -> Any:
        """Return the table as a ``pandas.DataFrame``.

        Raises:
            ValueError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ValueError(
                "pandas is not installed; run pip install pandas, or use the columns as they are"
            ) from error
        return pandas.DataFrame(self.columns)


def table_of(records: Sequence[Record], log: RunLog) -> Table:
    """Put the numbers of lines into columns.

    Args:
        records: lines of one kind, in the order of their updates.
        log: of the same run, which knows tokens and hours at an update.

    Returns:
        The columns of `LEADING`, then those of the lines in the order in which they come.
    """
    progress = [log.at(record.updates) for record in records]
    leading = (
        [record.epoch for record in records],
        [record.updates for record in records],
        [point.tokens for point in progress],
        [point.replicated_tokens for point in progress],
        [point.seconds / 3600 for point in progress],
    )
    columns = {
        name: np.array(values, dtype=np.float64)
        for name, values in zip(LEADING, leading, strict=True)
    }
    names = {name: None for record in records for name in record.values if name != "num_updates"}
    for name in names:
        columns.setdefault(name, np.array([record.number(name) for record in records]))
    return Table(columns)
