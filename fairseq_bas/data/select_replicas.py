"""Take the rows of some replicas from a mini-batch that has more, for a pass of its own."""

from typing import Any

from torch import Tensor

from ..replicate import select_rows

Batch = dict[str, Any]


def select_replicas(batch: Batch, replicas: range, num_replicas: int) -> Batch:
    """Take the rows of some replicas from a mini-batch of ``SampledPairs.collater``.

    Columns that hold only padding afterwards are cut. No number is read back from the device.

    Args:
        batch: the mini-batch; not changed.
        replicas: the R replica numbers of this pass, all of them made.
        num_replicas: M of the update.

    Returns:
        The mini-batch of those rows in their order, with ``nsentences`` and ``ntokens`` counted
        again, and ``replicas``, ``replica``, ``row``, ``rows_per_sentence`` and ``num_replicas`` as
        ``fairseq_bas.replicate.replicate`` gives them.

    Raises:
        ValueError: if some of the replicas were not made.
    """
    made = batch["made_replicas"]
    if not set(replicas) <= set(made):
        raise ValueError(f"{replicas} were asked for and {made} made; make all that are needed")
    chosen = (batch["replica"] >= replicas.start) & (batch["replica"] < replicas.stop)
    count = len(chosen) // len(made) * len(replicas)
    copies = select_rows(batch, (~chosen).long().argsort(stable=True)[:count])
    sources, targets, counts = zip(*(batch["copy_sizes"][r] for r in replicas), strict=True)
    lengths, left_pad = (max(sources), max(targets)), batch["left_pad"]
    for name, side in (("src_tokens", 0), ("prev_output_tokens", 1)):
        if name in copies["net_input"]:
            tokens = copies["net_input"][name]
            copies["net_input"][name] = _cut(tokens, lengths[side], left_pad[side])
    if copies["target"] is not None:
        copies["target"] = _cut(copies["target"], lengths[1], left_pad[1])
    sentence = copies["row"] // len(made)
    copies["row"] = sentence * len(replicas) + copies["replica"] - replicas.start
    copies.update(nsentences=count, ntokens=sum(counts), made_replicas=replicas)
    copies.update(replicas=replicas, rows_per_sentence=len(replicas), num_replicas=num_replicas)
    return copies


def _cut(tokens: Tensor, length: int, left_pad: bool) -> Tensor:
    return tokens[:, tokens.size(1) - length :] if left_pad else tokens[:, :length]
