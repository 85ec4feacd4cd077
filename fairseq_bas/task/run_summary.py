"""What a run will do, said once before its first update."""

import logging
import platform

import fairseq
import torch

from ..rng import fingerprint
from ..version import __version__

logger = logging.getLogger(__name__)


def log_run_summary(plan, iterator, cfg):
    """Log the distinct and the replicated batch, the learning rate, the noise key and versions.

    Args:
        plan: the ``ReplicaPlan`` of the run.
        iterator: the ``TrainIterator``, whose frozen batches are averaged over.
        cfg: the task's config.
    """
    batches = iterator.frozen_batches
    dataset = iterator.dataset
    tokens = getattr(dataset, "tgt_sizes", None)
    tokens = dataset.sizes if tokens is None else tokens
    sentences_each = sum(map(len, batches)) / len(batches)
    tokens_each = sum(int(tokens[list(batch)].sum()) for batch in batches) / len(batches)
    update_freq, readers = cfg.update_freq[0], iterator.num_shards
    per_update = update_freq * readers
    largest = plan.largest()
    copies = largest.replicas
    logger.info(
        "batch augmentation\n"
        f"  replicas      M = {plan.schedule} ({plan.kind}): up to {largest.workers} workers x "
        f"{largest.passes} passes x {largest.rows} rows\n"
        f"  micro-batch   {sentences_each:.1f} sentences, {tokens_each:.0f} target tokens (mean, "
        f"distinct); one pass holds {largest.rows} times as many\n"
        f"  update        x {update_freq} micro-batches x {readers} readers = "
        f"{sentences_each * per_update:.0f} sentences, {tokens_each * per_update:.0f} target "
        f"tokens; with copies {copies * sentences_each * per_update:.0f} and "
        f"{copies * tokens_each * per_update:.0f}\n"
        f"  learning rate {', '.join(map(str, cfg.lr))} as given: batch augmentation keeps it, "
        "the gradient is a mean over copies\n"
        f"  noise         seed {cfg.seed}, key fingerprint {fingerprint(cfg.seed)}\n"
        f"  versions      fairseq_bas {__version__}, fairseq {fairseq.__version__}, "
        f"torch {torch.__version__}, python {platform.python_version()}"
    )
