"""AdaScale's gain: how many steps of the reference batch one step of a larger batch is worth.

Johnson, Agrawal, Gu, Guestrin 2020 (arXiv 2007.05105) multiply the learning rate of SGD by the gain
and advance its schedule by it. They estimate the variance from S workers with equal batches of the
reference size B0:

    sig2 = sum_i ||g_i||^2 / (S - 1) - ||gbar||^2 S / (S - 1)        mu2 = ||gbar||^2 - sig2 / S

which is ``variance_and_squared_gradient`` for K = S and n_k = B0: sig2 is the variance per token
divided by B0, and mu2 is ``|G|^2``. Per token, the gain needs no equal batches and no new averages
when the batch changes.
"""


def gain(variance: float, squared_gradient: float, reference_tokens: float, tokens: float) -> float:
    """Return r = (sig2 + mu2) / (sig2 / kappa + mu2) with kappa = B / B0.

    sig2 = S / B0 is the variance of the mean gradient of a reference batch, and mu2 = ``|G|^2``.

    Args:
        variance: S per token; clipped at 0.
        squared_gradient: ``|G|^2``; clipped at 0.
        reference_tokens: B0, mean target tokens in an update of the reference batch, > 0.
        tokens: B, target tokens in an update now, > 0.

    Returns:
        r, in [1, kappa] for kappa >= 1: 1 without noise, kappa where the gradient is all noise;
        1 if both moments are 0.

    Raises:
        ValueError: if a batch is not positive.

    >>> gain(8000.0, 1.0, reference_tokens=1000, tokens=8000)
    4.5
    >>> gain(8000.0, -0.1, 1000, 8000), gain(0.0, 1.0, 1000, 8000)
    (8.0, 1.0)
    """
    return gain_with_copies(variance, 0.0, squared_gradient, reference_tokens, tokens, 1)


def gain_with_copies(
    between: float,
    within: float,
    squared_gradient: float,
    reference_tokens: float,
    tokens: float,
    replicas: int,
) -> float:
    """Return the gain of a batch with M copies over a reference batch without copies.

    r = ((t_b + t_w) / B0 + mu2) / ((t_b + t_w / M) / B + mu2): the reference step has the noise of
    one copy of B0 tokens. Copies alike (t_w = 0) leave the gain of kappa; copies that differ bring
    it nearer to kappa B_eff / B (see `two_level`).

    Args:
        between: t_b per token; clipped at 0.
        within: t_w per token of one copy; clipped at 0.
        squared_gradient: ``|G|^2``; clipped at 0.
        reference_tokens: B0, mean target tokens in an update of the reference batch, > 0.
        tokens: B, distinct target tokens in an update now, > 0.
        replicas: M now.

    Returns:
        r, in [1, kappa M] for kappa >= 1; 1 if all moments are 0.

    Raises:
        ValueError: if a batch is not positive.

    >>> gain_with_copies(1.0, 3.0, 0.0, reference_tokens=1.0, tokens=1.0, replicas=3)
    2.0
    """
    if reference_tokens <= 0 or tokens <= 0:
        raise ValueError(
            f"a reference batch of {reference_tokens:g} and a batch of {tokens:g} target tokens "
            f"have no gain; both must be positive"
        )
    between, within = max(between, 0.0), max(within, 0.0)
    signal = max(squared_gradient, 0.0)
    noise_of_reference = (between + within) / reference_tokens
    noise = (between + within / replicas) / tokens
    if noise + signal == 0:
        return 1.0
    return (noise_of_reference + signal) / (noise + signal)
