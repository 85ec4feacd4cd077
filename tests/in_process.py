"""Whole training runs inside the process of the test: fairseq's own loop, without its start-up.

For tests of many short runs; what depends on processes (workers, kills) uses real ones.
"""

import json
import logging

from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics, progress_bar
from fairseq_cli import train


def train_here(flags: list[object]) -> list[dict[str, float]]:
    """Run ``fairseq-train`` with ``flags`` and return what it logged of each update.

    Args:
        flags: of ``fairseq-train``; they must ask for a log in JSON of every update.

    Returns:
        The entries of the log, numbers as floats.
    """
    metrics.reset()
    parser = options.get_training_parser()
    arguments = options.parse_args_and_arch(parser, [str(flag) for flag in flags])
    collected = _Collected()
    level = progress_bar.logger.level
    progress_bar.logger.setLevel(logging.INFO)
    progress_bar.logger.addHandler(collected)
    try:
        train.main(convert_namespace_to_omegaconf(arguments))
    finally:
        progress_bar.logger.removeHandler(collected)
        progress_bar.logger.setLevel(level)
    return collected.entries


class _Collected(logging.Handler):
    """Keep the log entries of updates."""

    def __init__(self):
        super().__init__()
        self.entries: list[dict[str, float]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "train_inner":
            entry = json.loads(record.getMessage())
            # A resumed run also logs what was measured before, but not in this update: as null.
            known = {key: float(value) for key, value in entry.items() if value is not None}
            self.entries.append(known)
