"""Two real processes of torch.distributed, without fairseq."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from fairseq_bas.optim.decentralised_sgd import DecentralisedSGD
from fairseq_bas.optim.neighbour_exchange import NeighbourExchange
from fairseq_bas.optim.topology import mixing_matrix
from tests.processes import free_port

LR, MOMENTUM = 0.25, 0.5
GRADIENTS = torch.tensor([[[1.0, 2, 3], [3, 2, 1]], [[0.0, 1, 2], [4, 5, 6]]])  # update, worker


def work(worker, port, queue):
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", world_size=2, rank=worker
    )
    exchange = NeighbourExchange(mixing_matrix("full", 2), worker, piece=3)
    found = {"mixed": exchange.mix(torch.arange(10.0) * (worker + 1)).tolist()}
    weights = [torch.nn.Parameter(torch.tensor(value)) for value in ([1.0, 2.0], [3.0])]

    def optimizer():
        return DecentralisedSGD(weights, LR, MOMENTUM, exchange=exchange, keeps_workers=False)

    first = optimizer()
    for update in GRADIENTS:
        weights[0].grad, weights[1].grad = update[worker].split([2, 1])
        first.step()
    found["full"] = torch.cat(weights).tolist()
    with torch.no_grad():
        weights[1].add_(worker)  # as neighbours that hear little of each other would differ
    first.use_average()
    first.gather()
    second = optimizer()
    found["exact"] = second.load_state_dict(first.state_dict())
    found["velocity"] = second.velocity.tolist()
    found["average"], found["consensus"] = weights[1].item(), first.consensus
    first.use_own()
    found["own"] = weights[1].item()
    queue.put((worker, found))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.dist
def test_exchange_average_and_small_checkpoints():
    queue = torch.multiprocessing.get_context("forkserver").SimpleQueue()
    processes = torch.multiprocessing.start_processes(
        work, (free_port(), queue), nprocs=2, join=False, start_method="forkserver"
    )
    while not processes.join():
        pass
    found = dict(queue.get() for _ in range(2))
    reference = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    sgd = torch.optim.SGD([reference], lr=LR, momentum=MOMENTUM)
    for update in GRADIENTS:
        reference.grad = update.mean(dim=0)
        sgd.step()
    last = reference[2].item()
    velocity = LR * sgd.state[reference]["momentum_buffer"]
    for worker, state in found.items():
        assert state["mixed"] == [1.5 * i for i in range(10)]  # four pieces, the last of one
        assert state["full"] == pytest.approx(reference.tolist())
        assert state["own"] == pytest.approx(last + worker)
        assert state["average"] == pytest.approx(last + 0.5)
        assert state["consensus"] == pytest.approx((0.5**2 / 3) ** 0.5)
        assert state["velocity"] == pytest.approx(velocity.tolist())
        assert not state["exact"]  # all go on from the average
