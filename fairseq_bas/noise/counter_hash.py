"""The hash of `noise.keyed` for numpy's arrays, which are what loader workers draw with."""

import numpy as np

from .keyed import GOLDEN_GAMMA, MULTIPLIERS

_MULTIPLIERS = np.array(MULTIPLIERS).view(np.uint64)
_FIRST_MULTIPLIER, _SECOND_MULTIPLIER = _MULTIPLIERS.tolist()
_ALL_BITS = 2**64 - 1


def child_keys(keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Derive a key from each key and number.

    Args:
        keys: (E,) int64.
        numbers: (E,) int64, or of a shape that goes with ``keys``; not below 0.

    Returns:
        int64, of the shape that both have together.

    The first number that SplitMix64 makes from the seed 0:

    >>> hex(child_keys(np.array([0]), np.array([0])).item() % 2**64)
    '0xe220a8397b1dcdaf'
    """
    return _mix((keys + (numbers + 1) * GOLDEN_GAMMA).view(np.uint64)).view(np.int64)


def child_key(key: int, number: int) -> int:
    """Derive a key as `child_keys` does, which for one is slower.

    Args:
        key: 64 bits, with or without a sign.
        number: not below 0.

    Returns:
        In [0, 2**64), the bits that `child_keys` returns as int64.

    >>> hex(child_key(0, 0))
    '0xe220a8397b1dcdaf'
    """
    x = (key + (number + 1) * GOLDEN_GAMMA) & _ALL_BITS
    x = ((x ^ x >> 30) * _FIRST_MULTIPLIER) & _ALL_BITS
    x = ((x ^ x >> 27) * _SECOND_MULTIPLIER) & _ALL_BITS
    return x ^ x >> 31


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble uint64 numbers in place, as `keyed.mix` does; here torch would be slower."""
    shifted = np.empty_like(x)
    for places, factor in zip((30, 27), _MULTIPLIERS, strict=True):
        np.right_shift(x, np.uint64(places), out=shifted)
        x ^= shifted
        x *= factor
    np.right_shift(x, np.uint64(31), out=shifted)
    x ^= shifted
    return x
