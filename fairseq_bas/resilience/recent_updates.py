"""The latest updates of a run and what they read, kept until somebody asks which broke it.

Numbers that are on the device stay there; only a report waits for them.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch

KEPT = 10
"""Updates that are kept: what the fast average of the loss is of, about."""


@dataclasses.dataclass
class MicroBatch:
    """What one worker read at once.

    Args:
        ids: (B,) sentence ids, a tensor; of a text read as streams those of the streams.
        window: number of the window of those streams, or None.
        log: the logging output: sums over its target tokens, over copies averaged.
        replicas: M.
    """

    ids: Any
    window: int | None
    log: Mapping[str, Any]
    replicas: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``loss`` is in nats per target token."""
        tokens = float(self.log.get("ntokens", 0))
        total = self.log.get("nll_loss", self.log.get("loss"))
        window = {} if self.window is None else {"window": int(self.window)}
        return {
            "ids": sorted(set(self.ids.tolist())),
            **window,
            "rows": int(self.log.get("bas_rows", len(self.ids))),
            "target_tokens": int(tokens),
            "replicas": self.replicas,
            "loss": float(total) / tokens if total is not None and tokens > 0 else None,
        }


@dataclasses.dataclass
class Update:
    """One update.

    Args:
        number: updates made, this one counted.
        learning_rate: that it is made with.
        micro_batches: of this worker.
        loss: mean nats per target token over all workers; None if not known.
        gradient_norm: before clipping; None if not known.
    """

    number: int
    learning_rate: float
    micro_batches: list[MicroBatch] = dataclasses.field(default_factory=list)
    loss: float | None = None
    gradient_norm: Any = None

    def numbers(self) -> dict[str, Any]:
        """Return what does not differ between workers, as plain values."""
        return {
            "update": self.number,
            "loss": self.loss,
            "gradient_norm": None if self.gradient_norm is None else float(self.gradient_norm),
            "learning_rate": self.learning_rate,
        }


class RecentUpdates:
    """Keep the latest updates of a run."""

    def __init__(self) -> None:
        self.updates: deque[Update] = deque(maxlen=KEPT)
        self._is_open = False

    def begin(self, number: int, learning_rate: float) -> None:
        """Begin an update; one of the same number was not made and is forgotten."""
        if self.updates and self.updates[-1].number == number:
            self.updates.pop()
        self.updates.append(Update(number, learning_rate))
        self._is_open = True

    def add(self, sample: Mapping[str, Any], log: Mapping[str, Any], replicas: int) -> None:
        """Take note of a micro-batch that was run; after `end_gradient` of nothing."""
        if self._is_open and not sample.get("is_empty", False):
            log = {key: at_hand(value) for key, value in log.items()}
            batch = MicroBatch(sample["id"], sample.get("window"), log, replicas)
            self.updates[-1].micro_batches.append(batch)

    def end_gradient(self) -> None:
        """Take note that the update has all its micro-batches.

        fairseq runs them once more where a gradient is not finite, to find the module at fault.
        """
        self._is_open = False

    @property
    def latest(self) -> Update | None:
        """Return the update that is being made, or was made last."""
        return self.updates[-1] if self.updates else None


def at_hand(value: Any) -> Any:
    """Return a number that is in a tensor on the CPU; anything else as it is, without gradient.

    Tensors that are kept, small as they are, lie between the large ones of an update and keep the
    allocator from using that memory in one piece.

    >>> at_hand(torch.tensor(2.5)), at_hand(3)
    (2.5, 3)
    """
    if not isinstance(value, torch.Tensor):
        return value
    return value.item() if value.device.type == "cpu" and value.dim() == 0 else value.detach()


def plain(value: Any) -> Any:
    """Return ``value`` with numbers that JSON does not know as text.

    >>> plain({"loss": float("nan"), "ids": [1, 2]})
    {'loss': 'nan', 'ids': [1, 2]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value
