"""Write every file of a save whole or not at all; end all workers alike where the disk is full."""

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer

from ..errors import UserError
from .agreement import is_our_config, is_ours, raise_everywhere
from .digest import save_with_digest
from .whole_file import copy_whole, write_whole
from .worker_timeout import limited


@functools.cache
def install() -> None:
    """Put the writing of checkpoints into fairseq. Calling it again does nothing.

    Only saves of this package's tasks are written so.
    """
    checkpoint_utils.PathManager = _WholePathManager
    persistent_save = checkpoint_utils.torch_persistent_save
    checkpoint_utils.torch_persistent_save = _whole(persistent_save)
    Trainer.save_checkpoint = _written_whole(Trainer.save_checkpoint)
    checkpoint_utils.save_checkpoint = _agreed(checkpoint_utils.save_checkpoint)
    verify_directory = checkpoint_utils.verify_checkpoint_directory
    checkpoint_utils.verify_checkpoint_directory = _refused_in_one_line(verify_directory)
    distributed_utils.call_main = _telling_whose(distributed_utils.call_main)


class _Saving:
    """Say whether a save of ours is going on, and how many there were.

    Attributes:
        command_is_ours: what is known of the run before it has a trainer.
        depth: of calls within each other.
        complete: saves that wrote ``checkpoint_last.pt``, on every worker the same.
    """

    command_is_ours = False
    depth = 0
    complete = 0


def complete_saves() -> int:
    """Return how many saves wrote ``checkpoint_last.pt`` so far, the same on every worker."""
    return _Saving.complete


@contextlib.contextmanager
def _saving() -> Iterator[None]:
    _Saving.depth += 1
    try:
        yield
    finally:
        _Saving.depth -= 1


class _WholePathManager(PathManager):
    """Copy files of a save in one step each; else do what fairseq does."""

    @staticmethod
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> Any:
        """Copy a file."""
        if not _Saving.depth or not PathManager.supports_rename(dst_path):
            return PathManager.copy(src_path, dst_path, overwrite=overwrite)
        copy_whole(src_path, dst_path)
        return dst_path


def _whole(persistent_save: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(persistent_save)
    def whole(obj: Any, filename: str, async_write: bool = False) -> Any:
        if not _Saving.depth or async_write or not PathManager.supports_rename(filename):
            return persistent_save(obj, filename, async_write=async_write)
        return write_whole(filename, functools.partial(save_with_digest, obj))

    return whole


def _written_whole(save_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save_checkpoint)
    def written(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        with _saving() if is_ours(self) else contextlib.nullcontext():
            return save_checkpoint(self, *args, **kwargs)

    return written


def _agreed(save_checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save_checkpoint)
    def agreed(cfg: Any, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        if not is_ours(trainer):
            return save_checkpoint(cfg, trainer, *args, **kwargs)
        saved, problem = None, None
        try:
            with _saving():
                saved = save_checkpoint(cfg, trainer, *args, **kwargs)
        except OSError as error:
            problem = _explanation(error, cfg.save_dir)
        limited(raise_everywhere)(trainer, problem)
        if not cfg.no_save and not cfg.no_last_checkpoints:
            _Saving.complete += 1
        return saved

    return agreed


def _telling_whose(call_main: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call_main)
    def telling(cfg: Any, main: Callable[..., Any], **kwargs: Any) -> Any:
        if is_our_config(cfg):
            main = functools.partial(_run_ours, main)
        return call_main(cfg, main, **kwargs)

    return telling


def _run_ours(main: Callable[..., Any], cfg: Any, **kwargs: Any) -> Any:
    """Run ``main``, a command of ours, in this process, which may be one that fairseq spawned."""
    _Saving.command_is_ours = True
    try:
        return main(cfg, **kwargs)
    finally:
        _Saving.command_is_ours = False


def _refused_in_one_line(verify_directory: Callable[[str], None]) -> Callable[[str], None]:
    @functools.wraps(verify_directory)
    def refused(save_dir: str) -> None:
        try:
            verify_directory(save_dir)
        except OSError as error:
            if not _Saving.command_is_ours:
                raise
            raise UserError(
                f"--save-dir {save_dir} cannot be written: {_cause(error)}; pass another one, or "
                "free space, mend the disk or ask for the right to write there"
            ) from error

    return refused


def _explanation(error: OSError, save_dir: str) -> str:
    """Say in one sentence which file could not be written, why, and what to do."""
    return (
        f"{os.fspath(error.filename or save_dir)} could not be written: {_cause(error)}; the "
        "checkpoints saved before are as they were: free space or mend the disk, and start the "
        "same command again to go on from the newest"
    )


def _cause(error: OSError) -> str:
    code = errno.errorcode.get(error.errno or 0)
    return (error.strerror or str(error)) + (f" ({code})" if code else "")
