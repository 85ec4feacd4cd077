"""Errors that are the user's to mend: one line on standard error, exit code 1, no traceback."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(SystemExit):
    r"""End the process with one sentence for the user.

    It is a ``SystemExit`` whose code is the message: Python itself prints the message on
    standard error and exits with code 1, also in a worker process, and ``except Exception`` of
    a caller does not swallow it. Raise it in the main thread only; a thread or a data-loader
    worker should raise ``ValueError``.

    Args:
        message: what was given, what is wrong with it, what to do. Line breaks become spaces.

    Example:
        >>> str(UserError("--bas-replicas is 0,\n  but must be positive; pass 1 or more"))
        '--bas-replicas is 0, but must be positive; pass 1 or more'
    """

    def __init__(self, message: str):
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


@contextmanager
def refuse_with(prefix: str = "") -> Iterator[None]:
    """Turn a ``ValueError`` of the block, bad input found by a pure function, into a `UserError`.

    Args:
        prefix: put before the message and a colon, e.g. the name of the flag; empty for none.

    Raises:
        UserError: if the block raises ``ValueError``.

    Example:
        >>> try:
        ...     with refuse_with("--bas-replicas"):
        ...         raise ValueError("0 is not positive; pass 1 or more")
        ... except UserError as error:
        ...     print(error)
        --bas-replicas: 0 is not positive; pass 1 or more
    """
    try:
        yield
    except ValueError as error:
        raise UserError(f"{prefix}: {error}" if prefix else str(error)) from error
