"""The loss of each replica in the log of a mini-batch, and how far apart replicas are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fairseq.logging import metrics
from torch import Tensor

REPLICA_KEY = "bas_nll_replica_"
"""With the number of a replica, the name of its loss in a log."""


def nll_by_replica(nll: Tensor, sample: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return M times the nll of each replica, summed over its rows; nothing outside training.

    M times, because the task divides every number by M, and here a replica's own sum is wanted. All
    M keys are there on every worker, as fairseq adds logs up by key.

    Args:
        nll: of every target position, row by row, in nats; any shape.
        sample: a mini-batch; a replicated one has ``num_replicas`` (M) and ``replica`` (rows,).

    Returns:
        By name, `REPLICA_KEY` and 0 to M - 1, a scalar.
    """
    num_replicas = sample.get("num_replicas", 1)
    if num_replicas == 1:
        return {}
    by_row = nll.view(len(sample["replica"]), -1).sum(1)
    sums = by_row.new_zeros(num_replicas).index_add_(0, sample["replica"], by_row)
    return {f"{REPLICA_KEY}{m}": num_replicas * sums[m] for m in range(num_replicas)}


def log_replica_spread(logs: Sequence[Mapping[str, Any]], tokens: float) -> None:
    """Log ``replica_std`` to fairseq, if the logs are of replicas.

    That is the standard deviation over replicas (M - 1) of a replica's nll in bits a target token.

    Args:
        logs: at least one, with what `nll_by_replica` returned, divided by M.
        tokens: target tokens of all logs, > 0.
    """
    keys = [key for key in logs[0] if key.startswith(REPLICA_KEY)]
    if keys:
        means = [sum(log[key] for log in logs) / tokens / math.log(2) for key in keys]
        mean = sum(means) / len(means)
        variance = sum((m - mean) ** 2 for m in means) / (len(means) - 1)
        metrics.log_scalar("replica_std", variance**0.5, tokens, round=4)
