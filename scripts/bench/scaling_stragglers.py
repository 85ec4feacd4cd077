"""How long workers take together that each draw a batch: an update waits for the last of them.

The sizes of batches are the sizes that the data set's batches have, each as likely; workers draw
independently, as fairseq shuffles batches before it deals them out. (Dealing without putting back
makes no difference worth computing where an epoch has many more batches than there are workers.)
All results are expectations, computed and not sampled.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special


def order_means(values: Sequence[float], draws: int) -> np.ndarray:
    """Return the expected smallest, second smallest, ..., largest of some draws.

    The k-th smallest of W draws is at most v with probability I(F(v); k, W - k + 1), I the
    regularised incomplete beta function, F the share of values up to v (David and Nagaraja 2003,
    section 2.1).

    Args:
        values: at least one, each drawn with the same probability.
        draws: W >= 1.

    Returns:
        (W,), ascending.

    >>> order_means([0.0, 1.0], 2).tolist()  # the largest is 1 in three of four cases
    [0.25, 0.75]
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    share = np.arange(len(ordered) + 1) / len(ordered)
    k = np.arange(1, draws + 1)[:, None]
    at_most = special.betainc(k, draws - k + 1, share[None, :])
    return np.diff(at_most, axis=1) @ ordered


def finish(work: Sequence[float], copies: int = 1, cores: float = np.inf) -> float:
    """Return when the last process is done, of processes that share cores evenly.

    While k processes are at work, each runs at the speed min(1, cores / k).

    Args:
        work: seconds each would take alone, ascending.
        copies: processes with each of these works: those that train on one micro-batch.
        cores: that the processes have together.

    >>> finish([1.0, 3.0]), finish([1.0, 3.0], cores=1), finish([2.0], copies=4, cores=2)
    (3.0, 4.0, 4.0)
    """
    seconds = done = 0.0
    for number, own in enumerate(work):
        active = (len(work) - number) * copies
        seconds += (own - done) * max(1.0, active / cores)
        done = own
    return seconds
