"""Random numbers on the device that are pure functions of a key: no generator, no state.

Each number is a hash of (seed, update, sentence, replica, draw, position), so a copy of a sentence
gets the same noise in any batch, placement and process, and after any restart. The hash is the
output function of SplitMix64 (Steele, Lea and Flood 2014, section 5), taken at a counter.

Shapes: R rows (copies of sentences), N draws a row.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

import torch
from torch import Tensor

from ..rng import derive_seed

GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - 2**64
MULTIPLIERS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


@dataclass(frozen=True)
class RowKeys:
    """Hold what the noise of each row is drawn from.

    Args:
        copy: (R,) int64, a key for each pair of sentence and replica.
        sentence: (R,) int64, a key that all copies of a sentence share.
        replica: (R,) int64, the replica number of the row, in [0, M).
    """

    copy: Tensor
    sentence: Tensor
    replica: Tensor

    def index_select(self, rows: Tensor) -> "RowKeys":
        """Return the keys of ``rows`` (int64), in that order."""
        return RowKeys(self.copy[rows], self.sentence[rows], self.replica[rows])


def row_keys(seed: int, stream: str, update: int, sentence: Tensor, replica: Tensor) -> RowKeys:
    """Make the keys of the rows of one pass.

    Args:
        seed: the run's ``--seed``.
        stream: a stream of ``fairseq_bas.rng`` whose only counter is the update.
        update: updates taken so far.
        sentence: (R,) int64, sentence ids.
        replica: (R,) int64, replica numbers.

    Returns:
        The keys.

    >>> one, two = torch.tensor([5, 5, 8]), torch.tensor([0, 1, 0])
    >>> keys = row_keys(1, "source_noise", 7, one, two)
    >>> keys.copy.unique().numel(), keys.sentence.unique().numel()
    (3, 2)
    """
    sentence_key = mix(sentence * GOLDEN_GAMMA + derive_seed(seed, stream, update))
    copy_key = mix(sentence_key + (replica + 1) * GOLDEN_GAMMA)
    return RowKeys(copy_key, sentence_key, replica)


def mix(counter: Tensor) -> Tensor:
    """Scramble the 64 bits of each number: a bijection whose every bit depends on all others.

    >>> mix(torch.tensor([0x9E3779B97F4A7C15 - 2**64])).item() % 2**64 == 0xE220A8397B1DCDAF
    True
    """
    x = counter ^ _shift_right(counter, 30)
    x *= MULTIPLIERS[0]
    x ^= _shift_right(x, 27)
    x *= MULTIPLIERS[1]
    x ^= _shift_right(x, 31)
    return x


def bits(keys: Tensor, draw: str, count: int) -> Tensor:
    """Draw 64 random bits for each row and number.

    Args:
        keys: (R,) int64.
        draw: names the draw; the same key draws independent numbers under different names.
        count: N.

    Returns:
        (R, N) int64, uniform over all its values.
    """
    index = torch.arange(1, count + 1, device=keys.device)
    return mix(mix(keys ^ _salt(draw))[:, None] + index.mul_(GOLDEN_GAMMA))


def uniform(keys: Tensor, draw: str, count: int) -> Tensor:
    """Draw uniform numbers.

    Args:
        keys: (R,) int64.
        draw: names the draw.
        count: N.

    Returns:
        (R, N) float64 in [0, 1), multiples of 2**-53.

    >>> u = uniform(torch.arange(4), "drop", 1000)
    >>> tuple(u.shape), bool((u >= 0).all() and (u < 1).all()), round(u.mean().item(), 1)
    ((4, 1000), True, 0.5)
    """
    return _shift_right(bits(keys, draw, count), 11).double().mul_(2.0**-53)


def _shift_right(x: Tensor, places: int) -> Tensor:
    """Shift in zeros; torch shifts in copies of the sign."""
    return (x >> places).bitwise_and_(2 ** (64 - places) - 1)


@cache
def _salt(draw: str) -> int:
    return int.from_bytes(blake2b(draw.encode(), digest_size=8).digest(), "little", signed=True)
