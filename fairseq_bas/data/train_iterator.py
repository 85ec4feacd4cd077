"""The iterator over training micro-batches: keyed, never empty, and sure of its position.

fairseq stores the position in an epoch as a number of micro-batches. That number means other
sentences once ``--max-tokens`` or the number of workers has changed, and fairseq goes on silently
with some sentences repeated and others lost. Here the layout that the position refers to is stored
beside it and compared on resume.
"""

import logging
from typing import Any

from fairseq.data.iterators import EpochBatchIterator

from ..errors import refuse_with
from .keyed_collater import KeyedCollater

logger = logging.getLogger(__name__)

# What decides which sentences the n-th micro-batch of a worker holds, and how users set it.
LAYOUT_FLAGS = {
    "max_tokens": "--max-tokens",
    "batch_size": "--batch-size",
    "multiple": "--required-batch-size-multiple",
    "update_freq": "--update-freq",
    "seed": "--seed",
    "subword": "subword noise",
    "batching": "the text read as",
    "readers": "a number of workers with different micro-batches of",
    "sentences": "a number of training sentences of",
}


class TrainIterator(EpochBatchIterator):
    """Yield keyed micro-batches and refuse to resume at a position that means something else.

    Attributes:
        companion: what else belongs to the position, if anything: an object with ``state_dict`` and
            ``load_state_dict``.
    """

    companion: Any = None

    @classmethod
    def of(cls, iterator: EpochBatchIterator, layout: dict[str, Any]) -> "TrainIterator":
        """Turn the iterator that fairseq built into one of this class.

        Args:
            iterator: the iterator over the training set, not yet started.
            layout: values for keys of ``LAYOUT_FLAGS`` but ``readers`` and ``sentences``, where the
                run has any, and ``replicas``, the replica schedule as text.

        Returns:
            An iterator over the same batches.
        """
        train = cls.__new__(cls)
        train.__dict__.update(iterator.__dict__)
        train.collate_fn = KeyedCollater(iterator.collate_fn, train._stand_in)
        train.layout = {
            **dict.fromkeys(LAYOUT_FLAGS, "none"),
            **layout,
            "readers": iterator.num_shards,
            "sentences": len(iterator.dataset),
        }
        return train

    def _stand_in(self) -> Any:
        return self.dataset[self.frozen_batches[0][0]]

    def state_dict(self) -> dict[str, Any]:
        """Return fairseq's position with the layout that gives it a meaning."""
        state = {**super().state_dict(), "bas_layout": self.layout, "bas_length": len(self)}
        if self.companion is not None:
            state["bas_companion"] = self.companion.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position.

        Raises:
            UserError: in the middle of an epoch, if the layout differs from the stored one.
        """
        if "bas_layout" in state_dict:
            with refuse_with():
                self._check(state_dict["bas_layout"], state_dict)
        super().load_state_dict(state_dict)
        if self.companion is not None and "bas_companion" in state_dict:
            self.companion.load_state_dict(state_dict["bas_companion"])

    def _check(self, stored: dict[str, Any], state: dict[str, Any]) -> None:
        stored = {**dict.fromkeys(LAYOUT_FLAGS, "none"), **stored}
        changed = [key for key in LAYOUT_FLAGS if stored[key] != self.layout[key]]
        done = state["iterations_in_epoch"]
        if changed and done > 0:
            was = " and ".join(f"{LAYOUT_FLAGS[key]} {stored[key]}" for key in changed)
            now = " and ".join(f"{LAYOUT_FLAGS[key]} {self.layout[key]}" for key in changed)
            raise ValueError(
                f"the checkpoint stopped after {done} of {state['bas_length']} micro-batches of "
                f"epoch {state['epoch']} with {was}, and with {now} that position would repeat "
                f"some sentences and lose others; go on with {was}, or pass --reset-dataloader to "
                "start the data again at epoch 1"
            )
        for key in changed:
            logger.info(
                f"{LAYOUT_FLAGS[key]} {self.layout[key]} from epoch {state['epoch']} on "
                f"(it was {stored[key]} in the checkpoint)"
            )
        if stored["replicas"] != self.layout["replicas"]:
            logger.info(
                f"--bas-replicas {self.layout['replicas']} from here on "
                f"(it was {stored['replicas']} in the checkpoint)"
            )
