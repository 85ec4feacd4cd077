"""Copies of a mini-batch: where they run, how they are made, how their results are averaged.

Shapes: M replicas, B distinct sentences, R rows per sentence in one pass (R <= M), T target length.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Sample = dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """Spread M replicas over workers, passes and rows: M = workers x passes x rows.

    Replica numbers are contiguous: worker g holds ``range(g * M / workers, (g + 1) * M / workers)``
    and takes them ``rows`` at a time. So the same replicas meet in a pass whether the passes follow
    each other on one worker or run side by side on several.

    Args:
        replicas: M, copies of each sentence in an update, >= 1.
        workers: data-parallel workers that share one micro-batch, >= 1.
        rows: copies of each sentence in one forward pass, >= 1.

    Raises:
        ValueError: if M is not a multiple of ``workers * rows``.

    >>> placement = Placement(replicas=8, workers=2, rows=2)
    >>> placement.passes, placement.passes_of(worker=1)
    (2, [range(4, 6), range(6, 8)])
    """

    replicas: int
    workers: int = 1
    rows: int = 1

    def __post_init__(self) -> None:
        if min(self.replicas, self.workers, self.rows) < 1 or (
            self.replicas % (self.workers * self.rows)
        ):
            raise ValueError(
                f"{self.replicas} replicas cannot be split into {self.workers} workers with passes "
                f"of {self.rows}; choose numbers whose product divides the number of replicas"
            )

    @property
    def passes(self) -> int:
        """Return the number of forward and backward passes of each worker per micro-batch."""
        return self.replicas // (self.workers * self.rows)

    def passes_of(self, worker: int) -> list[range]:
        """Return the replicas of each pass of the ``worker``-th of those that share a batch."""
        first = worker * self.passes * self.rows
        return [
            range(first + p * self.rows, first + (p + 1) * self.rows) for p in range(self.passes)
        ]


def replicate(
    sample: Mapping[str, Any], replicas: range, num_replicas: int, shared: Container[str] = ()
) -> Sample:
    """Repeat every sentence of a collated mini-batch once per replica, copies adjacent.

    Row ``b * R + r`` is replica ``replicas[r]`` of sentence b. Copies stay adjacent because
    recurrent encoders need rows sorted by length. ``sample`` is not changed; tensors without a
    sentence dimension are shared with the result.

    Args:
        sample: a collated fairseq mini-batch: ``id`` (B,), ``nsentences``, ``ntokens``,
            ``net_input``, ``target`` (B, T), optionally ``alignments`` and ``align_weights``.
        replicas: the R replica numbers of this pass, each in [0, M).
        num_replicas: M.
        shared: names in ``net_input`` that stay as they are, one row a sentence, because the model
            makes the copies itself.

    Returns:
        The mini-batch of B * R rows, with ``nsentences`` and ``ntokens`` multiplied by R, and
        ``replicas`` as given, ``replica`` (B * R,) int64, the replica number of each row, ``row``
        (B * R,) int64, the number of each row, ``rows_per_sentence``, R, and ``num_replicas``, M.

    >>> sample = {"id": torch.tensor([7, 3]), "nsentences": 2, "ntokens": 5, "net_input": {},
    ...           "target": torch.tensor([[4, 2], [9, 2]])}
    >>> copies = replicate(sample, range(0, 2), num_replicas=4)
    >>> copies["id"].tolist(), copies["replica"].tolist(), copies["ntokens"]
    ([7, 7, 3, 3], [0, 1, 0, 1], 10)
    """
    num_sentences = sample["id"].size(0)
    rows = len(replicas)
    copies = _map_rows(
        {**sample, "net_input": dict(sample["net_input"])},
        num_sentences,
        lambda x: x.repeat_interleave(rows, dim=0) if rows > 1 else x,
    )
    for count in ("nsentences", "ntokens"):
        copies[count] = sample[count] * rows
    if sample.get("alignments") is not None:
        copies.update(_repeat_alignments(sample, num_sentences, rows))
    numbers = torch.arange(replicas.start, replicas.stop, device=sample["id"].device)
    for name in sample["net_input"]:
        if name in shared:
            copies["net_input"][name] = sample["net_input"][name]
    copies["replicas"] = replicas
    copies["replica"] = numbers.repeat(num_sentences)
    copies["row"] = torch.arange(num_sentences * rows, device=numbers.device)
    copies["rows_per_sentence"] = rows
    copies["num_replicas"] = num_replicas
    return copies


def sentence_major(values: Tensor, row: Tensor, rows_per_sentence: int) -> Tensor:
    """Bring the rows of a pass into groups of copies, whatever order noise has put them in.

    Args:
        values: (B * R, ...), by row.
        row: (B * R,) int64, as ``replicate`` numbers them.
        rows_per_sentence: R.

    Returns:
        (B, R, ...).

    >>> sentence_major(torch.tensor([7, 5, 6, 8]), torch.tensor([2, 0, 1, 3]), 2).tolist()
    [[5, 6], [7, 8]]
    """
    return values[row.argsort()].unflatten(0, (-1, rows_per_sentence))


def select_rows(sample: Mapping[str, Any], rows: Tensor) -> Sample:
    """Take rows of a mini-batch, in the order given.

    Args:
        sample: a mini-batch of R rows with ``id`` (R,); tensors of another first size are shared.
        rows: int64, row numbers.

    Returns:
        The mini-batch; counts such as ``nsentences`` are left as they were.

    >>> sample = {"id": torch.tensor([4, 9]), "net_input": {"x": torch.tensor([[1], [2]])}}
    >>> select_rows(sample, torch.tensor([1, 0]))["net_input"]["x"].tolist()
    [[2], [1]]
    """
    return _map_rows(dict(sample), sample["id"].size(0), lambda x: x.index_select(0, rows))


def _map_rows(value: Any, num_rows: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Change each tensor in a nested value that has a row for every index of dimension 0."""
    if isinstance(value, Tensor):
        return change(value) if value.dim() > 0 and value.size(0) == num_rows else value
    if isinstance(value, Mapping):
        return {key: _map_rows(item, num_rows, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_map_rows(item, num_rows, change) for item in value)
    return value


def _repeat_alignments(sample: Mapping[str, Any], num_sentences: int, rows: int) -> Sample:
    """Repeat word alignments: rows (source position, b * T + target position), grouped by b.

    They are a flat list, not one entry a sentence, so each copy gets the offset of its own row.
    """
    source, flat_target = sample["alignments"].unbind(1)
    target_length = sample["target"].size(1)
    sentence, position = flat_target // target_length, flat_target % target_length
    row = sentence[:, None] * rows + torch.arange(rows, device=sentence.device)
    order = row.flatten().argsort(stable=True)
    flat = (row * target_length + position[:, None]).flatten()[order]
    pairs = torch.stack([source.repeat_interleave(rows)[order], flat], dim=1)
    weights = sample["align_weights"].repeat_interleave(rows)[order]
    return {"alignments": pairs, "align_weights": weights}


def mean_over_replicas(logs: Sequence[Mapping[str, Any]], num_replicas: int) -> Sample:
    """Sum the logs of one worker's passes and divide by M.

    Every number a criterion logs is a sum over the rows of its pass; over all passes and workers
    the result is the mean over replicas of the sum over distinct sentences: what M = 1 logs.

    Args:
        logs: one logging output for each pass; numbers or 0-dim tensors are averaged, anything else
            is taken from the last pass.
        num_replicas: M, over all workers.

    Returns:
        The logging output of the micro-batch. Whole numbers stay whole where M divides them.

    >>> mean_over_replicas([{"ntokens": 6, "loss": 3.0}, {"ntokens": 6, "loss": 5.0}], 4)
    {'ntokens': 3, 'loss': 2.0}
    """
    mean = dict(logs[-1])
    for key, value in mean.items():
        if isinstance(value, Tensor) or (
            isinstance(value, int | float) and not isinstance(value, bool)
        ):
            mean[key] = divide(_total(log[key] for log in logs if key in log), num_replicas)
    return mean


def divide(total: Any, num_replicas: int) -> Any:
    """Divide a sum by M, keeping a whole number whole where M divides it."""
    if isinstance(total, int) and total % num_replicas == 0:
        return total // num_replicas
    return total / num_replicas


def _total(values: Iterable[Any]) -> Any:
    first, *rest = values
    return sum(rest, start=first)
