"""What a batch schedule starts from, and the flags it cannot go with."""

import numpy as np

from ..batching.amount import BaseBatch, parse_amount
from ..config import Clock
from ..data.stored_lengths import target_sizes


def base_batch(iterator, update_freq):
    """Return the mean size of an update of fairseq's flags alone.

    Args:
        iterator: over the training set.
        update_freq: micro-batches of each worker in an update.
    """
    batches = iterator.frozen_batches
    used = np.concatenate([np.asarray(batch) for batch in batches])
    updates = len(batches) / (update_freq * iterator.num_shards)
    tokens = float(target_sizes(iterator.dataset, used).sum())
    return BaseBatch(len(used) / updates, tokens / updates, max(1.0, updates), 1 / update_freq)


def reference_batch(text):
    """Read ``--bas-reference-batch``; without it, 1x.

    Raises:
        ValueError: one sentence, if it is no amount.
    """
    if text is None:
        return parse_amount("1x")
    try:
        return parse_amount(text)
    except ValueError as error:
        raise ValueError(f"--bas-reference-batch: {error}, as in 4kt or 256s") from None


def check_alone(cfg):
    """Refuse other flags that decide batches beside ``--bas-batch-schedule``.

    Raises:
        ValueError: one sentence.
    """
    if len(cfg.update_freq) > 1:
        raise ValueError(
            f"--update-freq {','.join(map(str, cfg.update_freq))} changes the batch by epoch and "
            "--bas-batch-schedule does so too; pass one --update-freq, the one of 1x"
        )
    if cfg.skip_remainder_batch:
        raise ValueError(
            "--skip-remainder-batch leaves out an update that is smaller than the others, and with "
            "--bas-batch-schedule updates have different sizes; leave one of the two out"
        )


def check_passes(cfg, controller, replica_plan):
    """Refuse ways to run passes that a schedule cannot have.

    Raises:
        ValueError: one sentence.
    """
    tokens = cfg.bas_max_tokens_per_pass
    if tokens is not None and tokens < 1:
        raise ValueError(
            f"--bas-max-tokens-per-pass {tokens} holds no word; pass what a device holds, such as "
            "4096"
        )
    if not controller.extends_update:
        return
    if tokens is not None:
        raise ValueError(
            "--bas-max-tokens-per-pass deals an update into passes before it is made, and with "
            "norm-test,extend its end is not known before; leave one of the two out"
        )
    if replica_plan.workers > 1:
        raise ValueError(
            "--bas-placement workers spreads the copies of a micro-batch, whose whole gradient "
            "norm-test,extend needs on each worker; pass --bas-placement passes or rows"
        )


def check_backend(cfg):
    """Refuse a wrapper that must know beforehand which micro-batch of an update is the last.

    Raises:
        ValueError: one sentence.
    """
    backend = str(cfg.ddp_backend)
    if cfg.distributed_world_size > 1 and backend not in ("legacy_ddp", "no_c10d"):
        raise ValueError(
            f"--bas-batch-schedule norm-test with extend cannot use --ddp-backend {backend}, which "
            "adds gradients up in the last micro-batch, not known beforehand; pass --ddp-backend "
            "legacy_ddp"
        )


def check_adversarial(cfg, controller):
    """Refuse a share of adversarial copies that nothing makes, or that is given twice.

    Raises:
        ValueError: one sentence.
    """
    share = controller.adversarial_share(Clock())
    if share is None:
        return
    if share > 0 and str(cfg.bas_adversarial) == "none":
        raise ValueError(
            f"--bas-batch-schedule {controller.name} trains on adversarial copies, and nothing "
            "makes any; pass --bas-adversarial fgsm, or adversarial=0 for the batch alone"
        )
    if cfg.bas_adversarial_share is not None:
        raise ValueError(
            f"--bas-adversarial-share {cfg.bas_adversarial_share} and --bas-batch-schedule "
            f"{controller.name} both say how many copies are adversarial; leave the flag out"
        )
