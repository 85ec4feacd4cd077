"""Bring the results of passes over copies together: losses, sizes and logs of one micro-batch."""

import contextlib

from ..replicate import divide, mean_over_replicas


class LossOverReplicas:
    """Divide a criterion's loss by M before the backward pass.

    Before and not after it: M summed copies would bring half-precision gradients M times closer to
    overflow.
    """

    def __init__(self, criterion, num_replicas):
        self.criterion = criterion
        self.num_replicas = num_replicas

    def __call__(self, model, sample):
        """Return loss / M, and the criterion's sample size and log."""
        loss, sample_size, log = self.criterion(model, sample)
        return loss / self.num_replicas, sample_size, log


def no_gradient_traffic(model, unless):
    """Keep data-parallel wrappers from reducing gradients that later passes still add to."""
    if unless or not hasattr(model, "no_sync"):
        return contextlib.nullcontext()
    return model.no_sync()


def with_rows(log, copies):
    """Add the size of the replicated batch, times M as every logged number is divided by it."""
    num_replicas = copies["num_replicas"]
    return {
        **log,
        "bas_rows": copies["nsentences"] * num_replicas,
        "bas_tokens": copies["ntokens"] * num_replicas,
    }


def average(outputs, num_replicas):
    """Return the mean over copies of what passes gave: loss, sample size and log.

    Args:
        outputs: one (loss, already divided by M, sample size, log) for each pass.
        num_replicas: M.
    """
    losses, sample_sizes, logs = zip(*outputs, strict=True)
    sample_size = divide(sum(sample_sizes), num_replicas)
    return sum(losses), sample_size, mean_over_replicas(logs, num_replicas)


def add_up(outputs):
    """Return the sums of what parts of a micro-batch gave: loss, sample size and log."""
    if len(outputs) == 1:
        return outputs[0]
    losses, sample_sizes, logs = zip(*outputs, strict=True)
    return sum(losses), sum(sample_sizes), mean_over_replicas(logs, 1)
