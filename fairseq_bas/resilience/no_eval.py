"""Take ``eval`` and the shell away from fairseq: option values are constants, paths are paths.

It acts in every command that loads the plugin, as the checks of checkpoints do: the values it
guards against come out of a checkpoint or a data folder, before anything tells whose run it is. A
constant has the value that it always had.
"""

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from fairseq.data.fasta_dataset import FastaDataset

from ..errors import UserError, refuse_with
from .plain_values import plain_value

_PLAIN_PATH = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


@functools.cache
def install() -> None:
    """Let every module of fairseq find `constant` where it says ``eval``.

    fairseq imports its tasks, models, criteria and optimizers all at once, before a user
    directory. Calling it again does nothing.
    """
    for name, module in list(sys.modules.items()):
        if name == "__main__":  # python -m fairseq_cli.eval_lm
            name = getattr(getattr(module, "__spec__", None), "name", None) or ""
        if name.partition(".")[0] in ("fairseq", "fairseq_cli"):
            module.eval = constant  # type: ignore[attr-defined]
    FastaDataset._build_index = _of_a_plain_path(FastaDataset._build_index)


def constant(expression: Any, *_: Any) -> Any:
    """Return the value of a constant expression, in place of ``eval``.

    Args:
        expression: text.

    Raises:
        UserError: if it is a program.
        TypeError: if it is no text: fairseq's ``eval_bool`` relies on it.
    """
    with refuse_with():
        return plain_value(expression)


def _of_a_plain_path(build_index: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a path that means something to the shell, to which fairseq gives it unquoted."""

    @functools.wraps(build_index)
    def of_a_plain_path(self: Any, path: str) -> Any:
        path = os.fspath(path)
        if not _PLAIN_PATH.fullmatch(path):
            raise UserError(
                f"{path!r} has characters that the shell would act upon, and fairseq reads fasta "
                "files through the shell; rename the folder"
            )
        return build_index(self, path)

    return of_a_plain_path
