"""Time to quality: what the noise of the gradient says about batches and copies.

With the best learning rate for each batch, updates to a given loss are S = S_min (1 + B_crit / B)
(McCandlish et al. 2018, arXiv 1812.06162, section 2.4). M copies whose gradients correlate by rho
are worth a batch of B / (rho + (1 - rho) / M) without copies (docs/theory.md, (3)); B_crit is that
of one copy. The law knows variance only: it does not know that copies change the loss that is
minimised, nor that text runs out.
"""

import math


def effective_batch(batch: float, replicas: int, correlation: float) -> float:
    """Return the batch without copies that has the variance of one with M copies.

    Args:
        batch: B, distinct tokens of an update, > 0.
        replicas: M >= 1.
        correlation: rho in [0, 1].

    Raises:
        ValueError: if rho is out of range.

    >>> effective_batch(100.0, 4, 0.0), effective_batch(100.0, 4, 1.0), effective_batch(9.0, 2, 0.5)
    (400.0, 100.0, 12.0)
    """
    if not 0 <= correlation <= 1:
        raise ValueError(
            f"a correlation of {correlation} cannot be; give a number from 0 to 1, as "
            "fairseq-bas replica-variance prints it"
        )
    return batch / (correlation + (1 - correlation) / replicas)


def updates_needed(batch: float, critical_batch: float) -> float:
    """Return updates to the quality as a multiple of S_min, 1 + B_crit / B.

    Args:
        batch: effective, in the unit of the critical batch, > 0.
        critical_batch: >= 0.

    >>> updates_needed(500.0, 1000.0)
    3.0
    """
    return 1 + critical_batch / batch


def break_even(
    seconds: float, batch: float, other_seconds: float, other_batch: float
) -> tuple[float, float]:
    """Return the critical batches for which one way is faster to quality than another.

    Solves t (1 + K / B) < t' (1 + K / B') for K = B_crit >= 0.

    Args:
        seconds: t, of an update.
        batch: B, effective.
        other_seconds: t'.
        other_batch: B'.

    Returns:
        The open interval of K; (0, 0) for none, up to infinity for no bound.

    >>> break_even(2.0, 64.0, 3.0, 128.0)  # quicker but noisier: only if noise hardly matters
    (0.0, 128.0)
    >>> break_even(1.0, 50.0, 1.0, 100.0)
    (0.0, 0.0)
    >>> break_even(3.0, 512.0, 2.0, 256.0)  # slower but less noisy
    (512.0, inf)
    """
    gained, lost = other_seconds - seconds, seconds / batch - other_seconds / other_batch
    if gained > 0:
        return (0.0, math.inf) if lost <= 0 else (0.0, gained / lost)
    if lost >= 0:
        return (0.0, 0.0)
    return (gained / lost, math.inf)
