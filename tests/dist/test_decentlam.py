"""DecentLaM on four workers: updates of the matrix, exact resumption, the end of a worker.

One run goes to its end; another goes on from its checkpoint in the middle and loses a worker.
"""

import math
import re

import pytest
import torch
from fairseq import checkpoint_utils, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import build_optimizer
from fairseq.utils import set_torch_seed
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from tests.processes import json_log, run_workers, start_workers
from tests.toys import tiny_transformer
from tests.resume_runs import assert_bit_equal

pytestmark = pytest.mark.dist

WORKERS, LR, MOMENTUM, DECAY, CLIP = 4, 0.2, 0.8, 0.01, 1.5
RING = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1]]).double() / 3
OURS = ("--optimizer", "bas_decentlam", "--momentum", MOMENTUM, "--weight-decay", DECAY)


def flags(toy, save_dir, *extra):
    """Return flags of updates of 16 sentences on four workers; every fourth has 12 only."""
    return (
        *tiny_transformer(toy, save_dir, task="bas_translation"),
        *("--batch-size", 4, "--max-tokens", 1000, "--dropout", 0.2, "--bas-replicas", 2),
        *("--lr", LR, "--clip-norm", CLIP, "--save-interval-updates", 5),
        *("--save-interval", 1000, "--validate-interval", 1000, *extra),
    )


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    """Return the folders of both runs, the log of the first and how the survivors ended."""
    whole, resumed = (tmp_path_factory.mktemp(name) for name in ("whole", "resumed"))
    ends = ("--max-update", 10)
    first = run_workers(WORKERS, "fairseq_cli.train", *flags(toy, whole, *OURS, *ends))[0]
    goes_on = ("--restore-file", whole / "checkpoint_2_5.pt", "--max-update", 9999)
    workers = start_workers(WORKERS, "fairseq_cli.train", *flags(toy, resumed, *OURS, *goes_on))
    try:
        for line in workers[0].stdout:
            if '"num_updates": "11"' in line:
                break
        workers[2].kill()
        errors = {worker: workers[worker].communicate(timeout=60)[1] for worker in (0, 1, 3)}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait(timeout=30)
    survivors = {worker: (workers[worker].returncode, error) for worker, error in errors.items()}
    return whole, resumed, first, survivors


def load(folder, name):
    return torch.load(folder / name, weights_only=False)


def simulated(toy, updates):
    """Return the weights (4, P) by the formulas of the paper, in one process and float64."""
    arguments = flags(toy, toy.bin, "--optimizer", "sgd")
    parser = options.get_training_parser()
    parsed = options.parse_args_and_arch(parser, [str(argument) for argument in arguments])
    cfg = convert_namespace_to_omegaconf(parsed)
    set_torch_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    task.load_dataset("train")
    optimizer = build_optimizer(cfg.optimizer, list(model.parameters()))
    parameters = list(model.parameters())
    start = parameters_to_vector(parameters).detach().double()
    weights, velocity = start.repeat(WORKERS, 1), torch.zeros(WORKERS, len(start)).double()
    readers = [micro_batches(task, worker, updates) for worker in range(WORKERS)]
    for update, samples in enumerate(zip(*readers, strict=True)):
        gradients, sizes = [], []
        for own, sample in zip(weights, samples, strict=True):
            vector_to_parameters(own.float(), parameters)
            optimizer.zero_grad()
            _, size, _ = task.train_step(sample, model, criterion, optimizer, update)
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            gradients.append(torch.cat([grad.reshape(-1) for grad in grads]).double())
            sizes.append(float(size))
        gradient = torch.stack(gradients) * WORKERS / sum(sizes)
        norms = gradient.norm(dim=1, keepdim=True)
        gradient = gradient * (CLIP / (norms + 1e-6)).clamp(max=1) + DECAY * weights
        mixed = RING @ (weights - LR * gradient)
        velocity = MOMENTUM * velocity + (weights - mixed) / LR
        weights = weights - LR * velocity
    return weights


def micro_batches(task, worker, count):
    """Return the first micro-batches that a worker reads, over as many epochs as it takes."""
    iterator = task.get_batch_iterator(
        task.dataset("train"),
        max_tokens=1000,
        max_sentences=4,
        max_positions=(1024, 1024),
        seed=1,
        num_shards=WORKERS,
        shard_id=worker,
        disable_iterator_cache=True,
    )
    samples = []
    while len(samples) < count:
        samples += list(iterator.next_epoch_itr(shuffle=True))
    return samples[:count]


def states(folder, name):
    """Return the weights (4, P) of all workers in a checkpoint."""
    state = load(folder, name)["last_optimizer_state"]["decentralised"]
    return torch.stack(state["weights"]).double()


def test_updates_are_those_of_the_matrix(toy, runs):
    """Weights of all workers, of batches of unequal size, with copies, dropout and clipping."""
    found = states(runs[0], "checkpoint_2_5.pt")
    assert (found - found.mean(dim=0)).abs().max() > 1e-3  # the workers do differ
    torch.testing.assert_close(found, simulated(toy, 5), rtol=0, atol=1e-6)


@torch.no_grad()
def test_checkpoint_and_validation_are_of_the_average(runs):
    whole, _, first, _ = runs
    path = str(whole / "checkpoint_last.pt")
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([path])
    weights = states(whole, "checkpoint_last.pt")
    average = parameters_to_vector(model.parameters())
    torch.testing.assert_close(average.double(), weights.mean(dim=0), rtol=0, atol=1e-6)
    logged = float(json_log(first, "valid")[-1]["valid_nll_loss"])
    assert valid_loss(model, task) == pytest.approx(logged, abs=1e-3)
    vector_to_parameters(weights[0].float(), model.parameters())
    assert abs(valid_loss(model, task) - logged) > 5e-3


def valid_loss(model, task):
    """Return bits a token on the validation set."""
    model.eval()
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    sample = dataset.collater([dataset[index] for index in range(len(dataset))])
    logits, _ = model(**sample["net_input"])
    logits, target = logits.flatten(0, 1), sample["target"].flatten()
    loss = cross_entropy(logits, target, ignore_index=task.target_dictionary.pad())
    return float(loss) / math.log(2)


def test_logged_distance_is_that_of_the_workers(runs):
    weights = states(runs[0], "checkpoint_2_5.pt")
    distance = (weights - weights.mean(dim=0)).square().mean().sqrt()
    logged = [entry.get("bas_consensus") for entry in json_log(runs[2], "train_inner")]
    assert logged[:5] == [None] * 5
    assert float(logged[5]) == pytest.approx(float(distance), rel=1e-3)


def test_resumed_run_goes_on_bit_for_bit(runs):
    whole, resumed = (load(folder, "checkpoint_3_10.pt") for folder in runs[:2])
    assert_bit_equal(whole, resumed, "model", "last_optimizer_state")


def test_killed_worker_ends_the_others_with_a_sentence(runs):
    """In an update the exchange names worker 2, and others that ended before it was noticed."""
    for worker, (code, error) in runs[3].items():
        last = error.strip().splitlines()[-1]
        exchange = rf"worker {worker} ends because its connection to workers? ([0-9, ]+) broke.*"
        named = re.fullmatch(exchange, last)
        assert named or re.match(f"worker {worker} lost its connection to another worker", last)
        assert named is None or "2" in named[1].split(", ")
        assert code == 1 and "Traceback" not in error
