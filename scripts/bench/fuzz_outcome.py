"""What became of a case: it worked, was refused in one line, or is a bug."""

import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from fairseq_bas.errors import UserError

WORKED, REFUSED, BUG = "worked", "refused", "bug"
LONGEST_MESSAGE = 20_000
"""Characters; a message may quote what was given, which here has 5000 digits or more."""


@dataclass(frozen=True)
class Outcome:
    """Hold what became of one case.

    Attributes:
        kind: what was damaged.
        seed: number of the case within its kind.
        result: ``worked``, ``refused`` or ``bug``.
        detail: the message, or how it failed.
    """

    kind: str
    seed: int
    result: str
    detail: str = ""


class Hang(BaseException):
    """Say that a case took too long; nothing that a case calls may swallow it."""


class Wrong(Exception):
    """Say that a case ended in silence with a wrong result."""


def attempt(kind: str, seed: int, case: Callable[[], None], seconds: float) -> Outcome:
    """Run a case in this process under a time limit.

    Args:
        kind: what is damaged.
        seed: number of the case.
        case: raises ``ValueError`` or ``UserError`` to refuse.
        seconds: the limit.
    """

    def ring(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        case()
        return Outcome(kind, seed, WORKED)
    except (ValueError, UserError) as error:
        return _refusal(kind, seed, error)
    except Hang:
        return Outcome(kind, seed, BUG, f"hangs for more than {seconds:g} s")
    except BaseException:  # everything else is what is looked for
        return Outcome(kind, seed, BUG, traceback.format_exc(limit=-4))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _refusal(kind: str, seed: int, error: BaseException) -> Outcome:
    message = " ".join(str(error).split())
    if type(error) not in (ValueError, UserError) or not message:
        # A subclass, such as of decoding or of JSON, says what a library missed, not the user.
        return Outcome(kind, seed, BUG, f"{type(error).__name__}: {message}")
    if len(message) > LONGEST_MESSAGE:
        return Outcome(kind, seed, BUG, f"a message of {len(message)} characters")
    return Outcome(kind, seed, REFUSED, message)
