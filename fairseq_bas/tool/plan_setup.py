"""What a plan needs of a run: everything that fairseq-train builds before its trainer."""

import functools
import logging
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
from fairseq import optim, options, tasks, utils
from fairseq.dataclass.initialize import add_defaults
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim.lr_scheduler import build_lr_scheduler
from omegaconf import OmegaConf

from .. import register
from ..data.train_iterator import TrainIterator

logger = logging.getLogger(__name__)


def read_flags(flags: Sequence[str], refuse: Callable[[Any, str], NoReturn] | None = None) -> Any:
    """Read the flags of fairseq-train into fairseq's config, with this plugin at hand.

    Args:
        flags: data directory and flags, as for fairseq-train; ``--user-dir`` may be left out.
        refuse: called with the parser and what it says of wrong flags; default is argparse's way.

    Raises:
        ValueError: if there is no model, or no bound on a micro-batch.
        SystemExit: by argparse, for flags that do not exist.
    """
    register()
    parser = options.get_training_parser()
    parser.prog = "fairseq-bas plan"
    if refuse is not None:
        parser.error = functools.partial(refuse, parser)
    try:
        arguments = options.parse_args_and_arch(parser, list(flags))
    except RuntimeError as error:
        if str(error):
            raise
        raise ValueError("no model is named; pass --arch, as in --arch transformer") from error
    with warnings.catch_warnings(action="ignore"):  # of hydra, about how fairseq calls it
        cfg = convert_namespace_to_omegaconf(arguments)
    add_defaults(cfg)
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise ValueError(
            "neither --max-tokens nor --batch-size bounds a micro-batch; pass one, as in "
            "--max-tokens 4096"
        )
    return cfg


class PlannedSetup:
    """Build what a run is made of; nothing is trained.

    Args:
        cfg: fairseq's config.

    Attributes:
        workers: data-parallel workers planned for.
        task: fairseq's task, with the training set.
        model: on the CPU.
        criterion: its loss.
    """

    def __init__(self, cfg: Any):
        self.cfg = cfg
        self.workers = int(cfg.distributed_training.distributed_world_size)
        utils.set_torch_seed(cfg.common.seed)
        self.task = tasks.setup_task(cfg.task)
        self.model = self.task.build_model(cfg.model)
        self.criterion = self.task.build_criterion(cfg.criterion)
        self._loaded = False

    def iterator(self, epoch: int) -> TrainIterator:
        """Return the first worker's iterator over the training set, as fairseq's trainer does.

        Args:
            epoch: from 1.
        """
        cfg, task = self.cfg, self.task
        is_sharded = task.has_sharded_data(cfg.dataset.train_subset)
        if is_sharded or not self._loaded:
            task.load_dataset(cfg.dataset.train_subset, epoch=epoch, combine=True)
            self._loaded = True
        iterator = task.get_batch_iterator(
            dataset=task.dataset(cfg.dataset.train_subset),
            max_tokens=cfg.dataset.max_tokens,
            max_sentences=cfg.dataset.batch_size,
            max_positions=utils.resolve_max_positions(
                task.max_positions(), self.model.max_positions(), cfg.dataset.max_tokens
            ),
            ignore_invalid_inputs=True,
            required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
            seed=cfg.common.seed + (epoch if cfg.dataset.update_ordered_indices_seed else 0),
            num_shards=self.workers,
            shard_id=0,
            num_workers=0,
            epoch=epoch,
            disable_iterator_cache=is_sharded,
            skip_remainder_batch=cfg.optimization.skip_remainder_batch,
            grouped_shuffling=cfg.dataset.grouped_shuffling,
            update_epoch_batch_itr=cfg.dataset.update_epoch_batch_itr,
        )
        if isinstance(iterator, TrainIterator):
            return iterator
        return TrainIterator.of(iterator, {})  # of a task that is not of this plugin

    def scheduler(self) -> Any:
        """Return the scheduler of the learning rate, at the start, over a parameter of no use.

        Raises:
            UserError: if the optimizer or the scheduler refuses its flags.
            ValueError: if the optimizer cannot have the flattened weights of ``--fp16``.
        """
        optimizer = self.optimizer(torch.ones(1) if flattens(self.cfg) else torch.ones(2, 2))
        scheduler = build_lr_scheduler(self.cfg.lr_scheduler, optimizer)
        scheduler.cfg = plain(scheduler.cfg)
        scheduler.step_update(0)
        return scheduler

    def optimizer(self, *weights: torch.Tensor) -> Any:
        """Return the optimizer of some weights, inside of any wrapper for half precision.

        Where it cannot be built here, as one for GPUs alone, plain SGD takes its place.

        Args:
            *weights: initial values of the parameters.
        """
        cfg = self.cfg
        parameters = [torch.nn.Parameter(weight.to(dtype_of_updates(cfg))) for weight in weights]
        try:
            optimizer = optim.build_optimizer(cfg.optimizer, parameters)
        except (RuntimeError, ImportError, AssertionError, NotImplementedError) as error:
            logger.info(f"the optimizer cannot be built here, SGD takes its place: {error}")
            return _plain_sgd(cfg, parameters)
        if flattens(cfg) and not optimizer.supports_flat_params:
            raise ValueError(
                f"--optimizer {cfg.optimizer._name} needs whole weights, which --fp16 flattens "
                "into one vector; pass --fp16-no-flatten-grads too"
            )
        if hasattr(optimizer, "begin_run"):
            optimizer.begin_run(cfg)
        return optimizer

    def trainer(self, scheduler: Any, num_updates: Any) -> Any:
        """Return what a task asks of fairseq's trainer before the first update."""
        return SimpleNamespace(
            cfg=self.cfg,
            lr_scheduler=scheduler,
            get_num_updates=num_updates,
            get_model=lambda: self.model,
        )


def plain(cfg: Any) -> Any:
    """Return flags that are read at every update without OmegaConf, which takes longer than all."""
    return SimpleNamespace(**dict(cfg)) if OmegaConf.is_config(cfg) else cfg


def keeps_half_weights(cfg: Any) -> bool:
    """Tell whether the model's weights are in half precision."""
    common = cfg.common
    return bool(
        (common.fp16 or common.bf16 or common.memory_efficient_fp16 or common.memory_efficient_bf16)
        and not common.amp
    )


def has_master_weights(cfg: Any) -> bool:
    """Tell whether the optimizer keeps a copy of half precision weights in full precision."""
    common = cfg.common
    is_efficient = common.memory_efficient_fp16 or common.memory_efficient_bf16
    return keeps_half_weights(cfg) and not is_efficient


def flattens(cfg: Any) -> bool:
    """Tell whether fairseq makes one vector of all weights for the optimizer."""
    common = cfg.common
    return bool(has_master_weights(cfg) and not common.bf16 and not common.fp16_no_flatten_grads)


def dtype_of_updates(cfg: Any) -> torch.dtype:
    """Return the type of the weights that the optimizer changes."""
    if keeps_half_weights(cfg) and not has_master_weights(cfg):
        return torch.bfloat16 if cfg.common.memory_efficient_bf16 else torch.float16
    return torch.float32


def _plain_sgd(cfg: Any, parameters: list[torch.nn.Parameter]) -> Any:
    from fairseq.optim.sgd import SGD

    config = SimpleNamespace(lr=cfg.optimization.lr, momentum=0.0, weight_decay=0.0)
    return SGD(config, parameters)
