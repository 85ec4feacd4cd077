"""Choose copies of a sentence that differ, as far as there are enough ways to write it."""

from collections.abc import Sequence

from torch import Tensor

Draw = tuple[bytes, Tensor]
"""The content of a copy, to compare it by, and the copy."""


def choose_distinct(
    tries: Sequence[Sequence[Draw]],
    taken: Sequence[Tensor],
    stored: Tensor,
    max_tokens: float,
    attempts: int,
) -> list[Tensor] | None:
    """Choose for each copy its first try that no earlier copy is; None if more tries are needed.

    After ``attempts`` tries that earlier copies are, the first is taken.

    Args:
        tries: for each copy its tries so far, at least one.
        taken: sentences that count as earlier copies.
        stored: what stands in for a copy that is too long, (T,) int64.
        max_tokens: greatest length of a copy.
        attempts: tries that a copy may have; 1 takes the first, whatever it is.
    """
    seen = {_content(ids) for ids in taken}
    chosen = []
    for draws in tries:
        content, copy = draws[0]
        if attempts > 1 and content in seen:
            unseen = next((draw for draw in draws if draw[0] not in seen), None)
            if unseen is None and len(draws) < attempts:
                return None
            content, copy = unseen or draws[0]
        if len(copy) > max_tokens:
            content, copy = _content(stored), stored
        seen.add(content)
        chosen.append(copy)
    return chosen


def _content(ids: Tensor) -> bytes:
    return ids.numpy().tobytes()
