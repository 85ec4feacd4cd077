"""Send a vector to neighbours and average with theirs, by torch.distributed, without fairseq."""

import time

import torch
import torch.distributed as dist
from torch import Tensor

from .topology import check_mixing

PIECE = 2**24  # elements sent at once: bounds what a worker holds of each neighbour


class NeighbourExchange:
    """Average with neighbours, point to point; every worker must call it at the same time.

    Args:
        matrix: (n, n) mixing weights.
        worker: this one's number, its rank in the default process group of n.
        piece: elements sent at once.

    Raises:
        ValueError: if `check_mixing` refuses the weights.
    """

    def __init__(self, matrix: Tensor, worker: int, piece: int = PIECE):
        check_mixing(matrix)
        self.workers, self.worker, self.piece = len(matrix), worker, piece
        row = matrix[worker].tolist()
        self.weight = row[worker]
        self.neighbours = {j: w for j, w in enumerate(row) if w > 0 and j != worker}

    def mix(self, vector: Tensor) -> Tensor:
        r"""Return :math:`\sum_j w_{ij} v_j`, the sum in order of workers.

        Args:
            vector: (P,) of this worker, contiguous; of one length and dtype on all workers.
        """
        return torch.cat([self._mix_piece(piece) for piece in vector.split(self.piece)])

    def _mix_piece(self, piece: Tensor) -> Tensor:
        received = {j: torch.empty_like(piece) for j in self.neighbours}
        sends = [dist.P2POp(dist.isend, piece, j) for j in self.neighbours]
        receives = [dist.P2POp(dist.irecv, buffer, j) for j, buffer in received.items()]
        for work in dist.batch_isend_irecv(sends + receives):
            work.wait()
        mixed = piece * self.weight
        for j, weight in self.neighbours.items():
            mixed.add_(received[j], alpha=weight)
        return mixed

    def mean(self, vector: Tensor) -> Tensor:
        """Return the mean over all workers, by all-reduce."""
        total = vector.clone()
        dist.all_reduce(total)
        return total.div_(self.workers)

    def gather(self, vector: Tensor) -> list[Tensor]:
        """Return what all workers hold, on the CPU, to worker 0; an empty list to the others.

        One worker sends at a time, so that worker 0 needs memory for one more vector only.
        """
        if self.worker > 0:
            dist.send(vector, 0)
            return []
        vectors = [vector.cpu().clone()]
        for j in range(1, self.workers):
            buffer = torch.empty_like(vector)
            dist.recv(buffer, j)
            vectors.append(buffer.cpu())
        return vectors


def lost_workers(worker: int, workers: int, patience: float = 2.0) -> list[int]:
    """Return the workers whose connection to this one is broken, after an error told of a break.

    Gloo keeps the error of a broken connection and raises it at the next use, while a message to
    a worker that lives is only queued: this one is about to end. Every process group has
    connections of its own, and those of the default one may notice a little later than the one in
    use. Other backends tell nothing.

    Args:
        worker: this one's number.
        workers: n.
        patience: seconds to wait for a break to be noticed.

    Returns:
        Their numbers; none if nothing was noticed.
    """
    give_up = time.monotonic() + patience
    lost: list[int] = []
    while not lost and dist.get_backend() == "gloo" and time.monotonic() < give_up:
        time.sleep(0.01)
        lost = [other for other in range(workers) if other != worker and _is_broken(other)]
    return lost


def _is_broken(other: int) -> bool:
    try:
        dist.isend(torch.zeros(1), other)
    except RuntimeError:
        return True
    return False


def is_broken_connection(error: BaseException) -> bool:
    """Tell whether an error is one of communication; gloo has no class for its own."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
