"""Cut a text into streams, and streams into the windows of truncated back-propagation.

A text of N tokens is S streams of L = N // S tokens that are read side by side, window after
window; up to S - 1 tokens at its end are left out. The token at position p is predicted from the
one at p - 1, the first from the end-of-sentence symbol, so that with one stream every token of a
text is predicted once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..rng import derive_seed

SHORT_SHARE = 0.05
LENGTH_STD = 5
SHORTEST = 5


def window_lengths(total: int, length: int, key: int | None = None) -> list[int]:
    """Cut a stream into windows.

    With a key, lengths are those of AWD-LSTM (Merity et al. 2018, section 5): a window is drawn
    from N(base, 5), where base is ``length``, or half of it with probability 0.05, rounded towards
    zero and at least 5. The last window is what is left.

    Args:
        total: tokens of the stream, >= 0.
        length: tokens of a window (``--tokens-per-sample``), >= 1.
        key: a seed for lengths that vary; None for windows of one length.

    Returns:
        Lengths >= 1 that add up to ``total``.

    >>> window_lengths(10, 4)
    [4, 4, 2]
    >>> lengths = window_lengths(100_000, 70, key=1)
    >>> sum(lengths), 66 < sum(lengths) / len(lengths) < 70, min(lengths[:-1]) >= 5
    (100000, True, True)
    """
    lengths, left = [], total
    generator = None if key is None else np.random.Generator(np.random.PCG64(key))
    while left > 0:
        window = length if generator is None else _drawn_length(length, generator)
        lengths.append(min(window, left))
        left -= lengths[-1]
    return lengths


def _drawn_length(length: int, generator: np.random.Generator) -> int:
    base = length / 2 if generator.random() < SHORT_SHARE else length
    return max(min(SHORTEST, length), int(generator.normal(base, LENGTH_STD)))


@dataclass(frozen=True)
class StreamLayout:
    """Say which tokens of a text each copy of each stream reads in an epoch.

    Args:
        num_tokens: N.
        num_streams: S, >= 1.
        length: tokens of a window.
        variable: draw the lengths of windows as AWD-LSTM does.
        rotate: begin every stream at another place in every epoch (partial shuffle, Press 2019).
        offset_replicas: M, if copy m of a stream reads it ``m * length // M`` tokens further on
            (Kocher et al. 2019), else 1. The text then goes on at its beginning.

    Raises:
        ValueError: if a stream would have no token, or if in some update two copies would read the
            same tokens.
    """

    num_tokens: int
    num_streams: int
    length: int
    variable: bool = False
    rotate: bool = False
    offset_replicas: int = 1

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"--tokens-per-sample {self.length} holds no token; pass 1 or more")
        if not 0 < self.num_streams <= self.num_tokens:
            raise ValueError(
                f"{self.num_streams} streams cannot be cut from {self.num_tokens} tokens; choose a "
                "smaller --batch-size, or pass more text"
            )
        if self.offset_replicas > 1 and (
            self.offset_replicas > self.length or self.length > self.stream_length
        ):
            raise ValueError(
                f"--bas-offset-copies with {self.offset_replicas} copies, windows of {self.length} "
                f"tokens and streams of {self.stream_length} would let copies read the same tokens "
                "at the same time; choose fewer copies, or a smaller --batch-size"
            )

    @property
    def stream_length(self) -> int:
        """Return L, the tokens of a stream."""
        return self.num_tokens // self.num_streams

    def windows(self, seed: int, epoch: int) -> list[int]:
        """Return the lengths of an epoch's windows, the same for all streams and copies."""
        key = derive_seed(seed, "bptt", epoch) if self.variable else None
        return window_lengths(self.stream_length, self.length, key)

    def rotations(self, seed: int, epoch: int) -> Sequence[int]:
        """Return for each stream how far into itself it begins, in [0, L)."""
        if not self.rotate:
            return [0] * self.num_streams
        generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "rotation", epoch)))
        return generator.integers(0, self.stream_length, self.num_streams).tolist()

    def positions(
        self, stream: int, replica: int, start: int, stop: int, rotation: int = 0
    ) -> np.ndarray:
        """Return where in the text a copy reads.

        Args:
            stream: s, in [0, S).
            replica: m, in [0, M).
            start: first step of the window, in [0, L).
            stop: the step after its last.
            rotation: where the stream begins.

        Returns:
            (stop - start,) int64, positions in [0, N).

        >>> StreamLayout(12, 3, 4, offset_replicas=2).positions(2, 1, 0, 4).tolist()
        [10, 11, 0, 1]
        """
        steps = (np.arange(start, stop) + rotation) % self.stream_length
        offset = replica * self.length // self.offset_replicas if self.offset_replicas > 1 else 0
        return (stream * self.stream_length + steps + offset) % self.num_tokens
