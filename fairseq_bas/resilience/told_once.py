"""Several workers fail together; one of them tells the user why.

Bad input is found by every worker: the first tells, the others end quietly with exit code 1. When
one dies, each of the others tells that it lost its connection, as none knows whether another can.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch

from ..errors import UserError

REFUSED = "bas_refused"
"""Key in torchrun's error file: another start of the same command would fail alike."""


def tell_once(main: Callable[..., Any], cfg: Any, **kwargs: Any) -> Any:
    """Run ``main(cfg, **kwargs)`` in one of several workers and report its failure once.

    Args:
        main: of a command of fairseq.
        cfg: the whole configuration of the run.
        **kwargs: passed on.

    Raises:
        SystemExit: with exit code 1 where one of several workers failed, after one has told why.
        UserError: for a lost connection that an optimizer explains itself.
    """
    try:
        return main(cfg, **kwargs)
    except (UserError, Exception) as error:
        is_refused = isinstance(error, UserError)
        if is_refused and _is_lost_connection(error.__cause__):
            raise  # an optimizer's own account of which workers are gone, as this one sees it
        if is_refused:
            _mark_refused(str(error))
        if not torch.distributed.is_initialized():
            raise
        _tell(error)
        raise SystemExit(1) from None


def _tell(error: BaseException) -> None:
    """Print the reason, or wait until the worker that was first has done so."""
    if not isinstance(error, UserError) and _is_lost_connection(error):
        print(_explanation(error), file=sys.stderr, flush=True)
        return
    try:
        store = torch.distributed.distributed_c10d._get_default_store()
        store.set_timeout(timedelta(seconds=3))
        if store.add("bas_failures", 1) > 1:
            store.wait(["bas_told"], timedelta(seconds=3))
            return
    except Exception:  # the process that kept the store has died or cannot be reached
        store = None
    if isinstance(error, UserError):
        print(error, file=sys.stderr, flush=True)
    else:
        traceback.print_exception(error)
    with contextlib.suppress(Exception):
        store.set("bas_told", "yes")


def _is_lost_connection(error: BaseException | None) -> bool:
    return isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)


def _explanation(error: BaseException) -> str:
    rank = torch.distributed.get_rank()
    reason = str(error).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
    return (
        f"worker {rank} lost its connection to another worker ({reason}), which has died or been "
        "cut off; start the same command again to go on from the newest checkpoint"
    )


def _mark_refused(message: str) -> None:
    """Tell torchrun, if it started this worker, that a restart would not help."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"message": message, "timestamp": int(time.time()), REFUSED: True}, file)
