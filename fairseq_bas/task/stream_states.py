"""The recurrent state of every stream and copy, through an epoch, a checkpoint and a restart.

Shapes: B streams of a micro-batch, M replicas.
"""

import torch
import torch.distributed as dist

from ..nn.carried_state import CarriedState, State, join_copies, split_copies

WIDE = (torch.float32, torch.float64)


class StreamStates:
    """Keep the state of the streams that this worker reads.

    Args:
        shared: start every copy from the state of copy 0.
    """

    def __init__(self, shared: bool = False):
        self.shared = shared
        # By first stream of the micro-batch, then by replica.
        self.states: dict[int, dict[int, State]] = {}
        self._next: dict[int, State] = {}
        # The window last read by each micro-batch, and the states it started from.
        self._last: dict[int, tuple[int, dict[int, State] | None]] = {}
        # What this worker read itself: restored states of other workers' streams grow old here.
        self._own: set[int] = set()
        self._gathered: dict[int, dict[int, State]] = {}

    def before(
        self, first_stream: int, window: int, replicas: range, device: torch.device
    ) -> CarriedState:
        """Return the state that a pass starts from.

        A window may be read again, as an update that overflowed with ``--amp`` is made once more;
        it then starts from where it started.

        Args:
            first_stream: the smallest stream number of the micro-batch.
            window: number of the window in the epoch; the first one starts from zeros.
            replicas: the replica numbers of the pass.
            device: where the model is; a restored state is not there yet.
        """
        last, started_from = self._last.get(first_stream, (None, None))
        states = started_from if last == window else self.states.get(first_stream)
        if window == 0 or states is None:
            return CarriedState()
        chosen = [0] * len(replicas) if self.shared else replicas
        return CarriedState(_moved(join_copies(states, chosen), device))

    def after(self, replicas: range, state: CarriedState) -> None:
        """Take the state that a pass ends with; other passes still start from the old one."""
        if state.value is not None:
            self._next.update(split_copies(state.value, replicas))

    def commit(self, first_stream: int, window: int) -> None:
        """Let the window after ``window`` of these streams start from what the passes ended with.

        What overflowed in half precision becomes zero: it would spoil all windows to come.
        """
        if self._next:
            kept = {0: self._next[0]} if self.shared else self._next
            if self._last.get(first_stream, (None, None))[0] != window:
                self._last[first_stream] = (window, self.states.get(first_stream))
            self.states[first_stream] = {replica: _finite(kept[replica]) for replica in kept}
            self._own.add(first_stream)
            self._next = {}

    def gather(self) -> None:
        """Bring the states of all workers together, on the CPU; all of them must call it at once.

        Workers that share streams hold different replicas of them.
        """
        mine = {
            stream: {replica: _copied(state) for replica, state in self.states[stream].items()}
            for stream in self._own
        }
        parts = [mine]
        if dist.is_available() and dist.is_initialized():
            parts = [{}] * dist.get_world_size()
            dist.all_gather_object(parts, mine)
        read: dict[int, dict[int, State]] = {}
        for part in parts:
            for stream, by_replica in part.items():
                read.setdefault(stream, {}).update(by_replica)
        self._gathered = {**self.states, **read}

    def state_dict(self) -> dict[int, dict[int, State]]:
        """Return what ``gather`` last found."""
        return self._gathered

    def load_state_dict(self, state_dict: dict[int, dict[int, State]]) -> None:
        """Take back what ``state_dict`` returned."""
        self._own.clear()
        self._last.clear()
        self.states = {stream: dict(by_replica) for stream, by_replica in state_dict.items()}

    def regroup(self, rows: int) -> None:
        """Deal restored states to micro-batches of other sizes.

        Args:
            rows: streams of a micro-batch; 0 to forget all states, as at the end of an epoch.
        """
        firsts = sorted(self.states) if rows > 0 else []
        one_by_one = {
            first + row: {replica: _row(state, row) for replica, state in by_replica.items()}
            for first in firsts
            for by_replica in (self.states[first],)
            for row in range(len(next(iter(by_replica.values()))[0][0]))
        }
        self.states = {
            first: _joined([one_by_one[s] for s in range(first, first + rows) if s in one_by_one])
            for first in range(0, len(one_by_one), rows or 1)
        }


def _row(state: State, row: int) -> State:
    return tuple((hidden[row : row + 1], cell[row : row + 1]) for hidden, cell in state)


def _joined(streams: list[dict[int, State]]) -> dict[int, State]:
    """Put streams into one micro-batch; replicas that some of them lack begin as the first one."""
    replicas = sorted(set().union(*streams))
    chosen = {r: [by_r.get(r, by_r[min(by_r)]) for by_r in streams] for r in replicas}
    return {
        replica: tuple(
            (torch.cat([hidden for hidden, _ in layers]), torch.cat([cell for _, cell in layers]))
            for layers in zip(*states, strict=True)
        )
        for replica, states in chosen.items()
    }


def _finite(state: State) -> State:
    return tuple(
        tuple(
            part if part.dtype in WIDE else part.nan_to_num(0.0, posinf=0.0, neginf=0.0)
            for part in layer
        )
        for layer in state
    )


def _moved(state: State, device: torch.device) -> State:
    return tuple((hidden.to(device), cell.to(device)) for hidden, cell in state)


def _copied(state: State) -> State:
    """Return a copy on the CPU: rows of a pass are views, which fairseq cannot send to workers."""
    return tuple((hidden.cpu().clone(), cell.cpu().clone()) for hidden, cell in state)
