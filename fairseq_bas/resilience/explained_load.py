"""Say in one line why training cannot go on from a checkpoint that is in order."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from fairseq.trainer import Trainer

from ..errors import UserError
from ..safe_load import load_checked
from .agreement import is_ours
from .other_model import WAY_OUT, explanation

logger = logging.getLogger(__name__)

_OTHER_MODEL = "Cannot load model parameters from checkpoint"
_OTHER_CLASS = {"Criterion": "--criterion", "Optimizer": "--optimizer"}


@functools.cache
def install() -> None:
    """Put the explanation into fairseq's trainer. Calling it again does nothing."""
    Trainer.load_checkpoint = _explained(Trainer.load_checkpoint)


def _explained(load_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(load_checkpoint)
    def explained(self: Trainer, filename: str, *args: Any, **kwargs: Any) -> Any:
        if not is_ours(self):
            return load_checkpoint(self, filename, *args, **kwargs)
        try:
            return load_checkpoint(self, filename, *args, **kwargs)
        except AssertionError as error:
            what, _, rest = str(error).partition(" does not match;")
            if what not in _OTHER_CLASS:
                raise
            raise UserError(_other_class(filename, _OTHER_CLASS[what], rest)) from error
        except Exception as error:
            # Every worker comes here: they load the same into the same.
            if not str(error).startswith(_OTHER_MODEL):
                raise
            sentence = _other_model(self, filename, error)
            if sentence is None:
                raise
            raise UserError(sentence) from error

    return explained


def _other_model(trainer: Trainer, filename: str, error: Exception) -> str | None:
    """Return one sentence; None if the error is about something else, such as memory."""
    try:
        state, model = load_checked(filename), trainer.get_model()
        weights = dict(state["model"])
        model.upgrade_state_dict(weights)
        sentence = explanation(
            filename, {**state, "model": weights}, trainer.cfg, model.state_dict()
        )
        if sentence is not None:
            return sentence
    except Exception as reason:  # a file that this machine does not see, weights of older kinds
        logger.debug(f"{filename}: {reason}")
    reason = " ".join(str(error.__context__).split())
    if "loading state_dict" not in reason:
        return None
    return f"{filename} does not fit the model of these flags ({reason[:300]}); {WAY_OUT}"


def _other_class(filename: str, flag: str, rest: str) -> str:
    """Return one sentence about fairseq's ``(--reset-optimizer). THEIRS vs OURS``."""
    was, _, now = rest.rpartition("). ")[2].partition(" vs ")
    return (
        f"{filename} was trained with {flag} of class {was} and these flags ask for {now}; go on "
        "with the same, or pass --reset-optimizer"
    )
