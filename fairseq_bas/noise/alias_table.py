"""Tables that draw one of many outcomes by a single look."""

from collections.abc import Sequence

BITS = 40
"""Random bits of a draw: probabilities are rounded to multiples of 2**-40."""


def alias_table(probabilities: Sequence[float]) -> list[tuple[int, int]]:
    """Give every outcome a slot, and what a slot has too much to another (Walker 1977, Vose 1991).

    A draw takes one of n slots, all alike; in it the slot's own outcome has a share, and another
    one the rest.

    Args:
        probabilities: n of them, with the sum 1.

    Returns:
        For each slot its own share of it in units of 2**-BITS, and the outcome that has the rest.

    >>> [(share / 2**BITS, other) for share, other in alias_table([0.75, 0.25])]
    [(1.0, 0), (0.5, 0)]
    """
    whole = 2**BITS
    shares = [round(probability * len(probabilities) * whole) for probability in probabilities]
    others = list(range(len(shares)))
    poor = [i for i, share in enumerate(shares) if share < whole]
    rich = [i for i, share in enumerate(shares) if share > whole]
    while poor and rich:
        taker, giver = poor.pop(), rich[-1]
        others[taker] = giver
        shares[giver] -= whole - shares[taker]
        if shares[giver] <= whole:
            rich.pop()
            if shares[giver] < whole:
                poor.append(giver)
    for i in poor + rich:  # what rounding has left
        shares[i] = whole
    return list(zip(shares, others, strict=True))
