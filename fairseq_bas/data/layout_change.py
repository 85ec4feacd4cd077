"""What a stored position in an epoch means for a run whose setup may have changed.

fairseq stores the position as a number of micro-batches. That number means other sentences once
``--max-tokens`` or the number of workers has changed, and fairseq goes on silently with some
sentences repeated and others lost. Here the layout that the position refers to is stored beside it.

A layout is a dict of plain values: those of `FLAGS`, of ``epoch_parts.SETUP_KEYS``, ``streams``
(S of a text read as streams, else None) and ``rows`` (streams of a micro-batch).
"""

from typing import Any

from .epoch_parts import SETUP_KEYS, Part

Layout = dict[str, Any]

FLAGS = {
    "max_tokens": "--max-tokens",
    "batch_size": "--batch-size",
    "multiple": "--required-batch-size-multiple",
    "update_freq": "--update-freq",
    "seed": "--seed",
    "subword": "subword noise",
    "max_positions": "greatest lengths of",
    "grouped": "--grouped-shuffling",
    "batching": "the text read as",
    "readers": "a number of workers with different micro-batches of",
    "sentences": "a number of training sentences of",
    "digest": "training data of digest",
}
"""How users set, or know, what a position refers to."""

DATA = ("batching", "sentences", "digest")
"""What must stay the same in the middle of an epoch."""
FIRST_FLAGS = ("max_tokens", "batch_size", "multiple", "update_freq", "seed", "subword", "readers")
"""Flags that checkpoints without ``SETUP_KEYS`` have, and in which a position depends on them."""


def resumed_position(state: dict[str, Any], layout: Layout) -> tuple[list[Part], int]:
    """Return where in an epoch a run of this layout goes on.

    Args:
        state: of ``TrainIterator.state_dict``.
        layout: of the run.

    Returns:
        The parts of the epoch that were read in other setups, and how many micro-batches of each
        reader were read since.

    Raises:
        ValueError: one sentence, if sentences would be repeated or lost.
    """
    stored = {**dict.fromkeys(FLAGS, "none"), **state["bas_layout"]}
    done = state["iterations_in_epoch"]
    parts = [Part(**part) for part in state.get("bas_parts", [])]
    if done == 0 and not parts:
        return [], 0
    in_streams = layout["streams"] is not None and stored.get("streams") is not None
    # The number of windows, the sentences of streams, depends on how many streams there are.
    data = [key for key in DATA if key != "sentences" or not in_streams]
    _refuse(changed(stored, layout, data), state, stored, layout)
    if not stored.keys() >= set(SETUP_KEYS):  # of an earlier version
        _refuse(changed(stored, layout, FIRST_FLAGS), state, stored, layout)
        return [], done
    if in_streams:
        return [], _moved_in_streams(state, stored, layout)
    setup = {key: stored[key] for key in SETUP_KEYS}
    if all(setup[key] == layout[key] for key in SETUP_KEYS):
        return parts, done
    if done > 0:
        parts.append(Part(setup, state.get("shuffle", True), done))
    return parts, 0


def changed(stored: Layout, layout: Layout, keys: Any = tuple(FLAGS)) -> list[str]:
    """Return which values of a stored layout are others now, without those that follow from it."""
    found = [key for key in keys if stored[key] != layout[key]]
    # Checkpoints of earlier versions do not have all.
    known = [key for key in found if key != "digest" or stored[key] != "none"]
    causes = {"max_positions": "max_tokens", "digest": "sentences"}
    return [key for key in known if causes.get(key) not in found and not _is_new(stored, key)]


def described(keys: list[str], layout: Layout) -> str:
    """Return some values of a layout as users know them."""
    return " and ".join(f"{FLAGS[key]} {layout[key]}" for key in keys)


def _is_new(stored: Layout, key: str) -> bool:
    return stored[key] == "none" and key in ("max_positions", "grouped")


def _refuse(keys: list[str], state: dict[str, Any], stored: Layout, layout: Layout) -> None:
    if keys:
        was, now = described(keys, stored), described(keys, layout)
        raise ValueError(
            f"{_stopped(state)} with {was}, and with {now} that position would repeat some "
            f"sentences and lose others; go on with {was}, or pass --reset-dataloader to start the "
            "data again at epoch 1"
        )


def _stopped(state: dict[str, Any]) -> str:
    return (
        f"the checkpoint stopped after {state['iterations_in_epoch']} of {state['bas_length']} "
        f"micro-batches of epoch {state['epoch']}"
    )


def _moved_in_streams(state: dict[str, Any], stored: Layout, layout: Layout) -> int:
    """Return the position of streams that are dealt to other micro-batches.

    Micro-batches take the streams of a window in order, whatever their size.

    Raises:
        ValueError: if the text is cut at other places, or in the middle of a micro-batch.
    """
    if {"variable", "rotated"} & set(stored["batching"].split()):
        _refuse(changed(stored, layout, ["seed"]), state, stored, layout)
    streams = stored["streams"]
    if streams != layout["streams"]:
        raise ValueError(
            f"{_stopped(state)} of a text read as {streams} streams, and {layout['streams']} "
            "streams would repeat some of it and lose some; "
            f"{_batch_size_for(streams, layout)}, or --reset-dataloader to start the data again at "
            "epoch 1"
        )
    read = state["iterations_in_epoch"] * stored["rows"] * stored["readers"]
    rounds, rest = divmod(read, layout["rows"] * layout["readers"])
    if rest > 0:
        raise ValueError(
            f"{_stopped(state)}, where {read % streams} of {streams} streams were a window ahead, "
            f"and --batch-size {layout['rows']} on {layout['readers']} workers takes others "
            f"together; go on with --batch-size {stored['rows']} on {stored['readers']} workers, "
            "or pass --reset-dataloader to start the data again at epoch 1"
        )
    return rounds


def _batch_size_for(streams: int, layout: Layout) -> str:
    """Return what to pass for this number of streams."""
    groups = layout["streams"] // layout["rows"]
    if streams % groups == 0:
        return f"pass --batch-size {streams // groups}"
    return (
        f"pass workers x --update-freq that divides {streams} (it is {groups}), with --batch-size "
        "for the rest"
    )
