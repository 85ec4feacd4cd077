"""Laws 1 and 2 in one process: real fairseq tasks and models, float64, against plain gradients."""

import copy
import itertools

import pytest
import torch
from fairseq import tasks

from fairseq_bas.rng import derive_seed
from tests.in_process import parts_of
from tests.toys import tiny_lstm, tiny_transformer


class Sum:
    """The part of an optimizer that a train step uses: backward, gradients add up."""

    def backward(self, loss):
        loss.backward()


class Setup:
    """A task, a float64 model, a criterion and one micro-batch, made from command-line flags."""

    read = staticmethod(parts_of)

    def __init__(self, toy, flags, *extra, dropout=0.0, task="bas_translation"):
        args = [*flags(toy, "unused", task=task), "--dropout", dropout, *extra]
        cfg = self.read(args)
        self.task = tasks.setup_task(cfg.task)
        torch.manual_seed(0)
        self.model = self.task.build_model(cfg.model).double()
        # fairseq's own casts to float32, which would hide differences below 1e-7.
        self.model.get_normalized_probs = lambda net_output, log_probs, sample=None: net_output[
            0
        ].log_softmax(-1)
        self.criterion = self.task.build_criterion(cfg.criterion)
        self.task.load_dataset("train")
        dataset = self.task.dataset("train")
        self.sample = dataset.collater([dataset[i] for i in (4, 9, 2, 11, 7)])

    def step(self, update_num=3, workers=1):
        """Return loss, sample size, log and gradients, summed over ``workers`` in this process."""
        self.model.zero_grad()
        loss, sample_size, logs = 0.0, 0.0, []
        for worker in range(workers):
            self.task._worker_in_group = worker
            out = self.task.train_step(self.sample, self.model, self.criterion, Sum(), update_num)
            loss, sample_size = loss + out[0], sample_size + out[1]
            logs.append(out[2])
        log = {key: sum(log[key] for log in logs) for key in logs[0]}
        gradients = [p.grad.clone() for p in self.model.parameters()]
        return loss, sample_size, log, gradients


def assert_equal_steps(one, other, tolerance):
    torch.testing.assert_close(one[0], other[0], rtol=tolerance, atol=0)
    assert one[1] == other[1]
    for key in ("loss", "nll_loss", "ntokens", "nsentences", "sample_size"):
        torch.testing.assert_close(
            torch.as_tensor(one[2][key]).double(),
            torch.as_tensor(other[2][key]).double(),
            rtol=tolerance,
            atol=0,
        )
    for a, b in zip(one[3], other[3], strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def float_limit(flags, copies):
    """Return 1e-12, but 1e-6 where fairseq's float32 attention rounds a division by M."""
    return 1e-6 if flags is tiny_transformer and copies == 3 else 1e-12


FAMILIES = pytest.mark.parametrize("flags", [tiny_transformer, tiny_lstm])
LAYOUTS = [
    ("rows", 3, [], 1),
    ("passes", 3, ["--bas-placement", "passes"], 1),
    ("mixed", 4, ["--bas-replicas-per-pass", "2"], 1),
    (
        "workers",
        4,
        [
            *("--bas-placement", "workers", "--distributed-world-size", "2"),
            *("--distributed-no-spawn", "--bas-replicas-per-pass", "1"),
        ],
        2,
    ),
]


@FAMILIES
@pytest.mark.parametrize(("name", "copies", "extra", "workers"), LAYOUTS)
@pytest.mark.parametrize("average", [[], ["--sentence-avg"]])
def test_noiseless_copies_equal_plain_fairseq(toy, flags, name, copies, extra, workers, average):
    """Law 1 (and law 2 without noise), for loss, normaliser, logs and every gradient."""
    plain = Setup(toy, flags, *average, task="translation").step()
    ours = Setup(toy, flags, "--bas-replicas", copies, *extra, *average).step(workers=workers)
    assert_equal_steps(plain, ours, float_limit(flags, copies))


@FAMILIES
def test_gradient_is_the_mean_of_each_copys_gradient(toy, flags):
    """With dropout, passes = the mean of M plain steps, each under the seed of its copy."""
    setup = Setup(toy, flags, "--bas-replicas", 3, "--bas-placement", "passes", dropout=0.3)
    ours = setup.step(update_num=5)
    plain = Setup(toy, flags, dropout=0.3, task="translation")
    plain.model.load_state_dict(setup.model.state_dict())
    first = int(plain.sample["id"].min())
    gradients, loss = None, 0.0
    for replica in range(3):
        plain.model.zero_grad()
        torch.manual_seed(derive_seed(1, "dropout", 5, first, replica))
        out = plain.task.train_step(plain.sample, plain.model, plain.criterion, Sum(), 5)
        grads = [p.grad.clone() / 3 for p in plain.model.parameters()]
        gradients = grads if gradients is None else list(map(torch.add, gradients, grads))
        loss += out[0].detach() / 3
    torch.testing.assert_close(ours[0], loss, rtol=1e-12, atol=0)
    limit = float_limit(flags, copies=3)
    for a, b in zip(ours[3], gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=limit, atol=limit)


@FAMILIES
def test_micro_batches_add_up(toy, flags):
    """One micro-batch of five sentences equals two of two and three, copies and all."""
    setup = Setup(toy, flags, "--bas-replicas", 2)
    whole = setup.step()
    dataset, parts = setup.task.dataset("train"), []
    for ids in ((4, 9), (2, 11, 7)):
        setup.sample = dataset.collater([dataset[i] for i in ids])
        parts.append(setup.step())
    assert whole[1] == parts[0][1] + parts[1][1]
    torch.testing.assert_close(whole[0], parts[0][0] + parts[1][0], rtol=1e-6, atol=0)
    for a, b, c in zip(whole[3], parts[0][3], parts[1][3], strict=True):
        torch.testing.assert_close(a, b + c, rtol=1e-5, atol=1e-6)


@FAMILIES
def test_passes_and_workers_agree_bit_for_bit_with_dropout(toy, flags):
    passes = ["--bas-replicas", 4, "--bas-placement", "passes"]
    spread = ["--bas-replicas", 4, *LAYOUTS[3][2]]
    one = Setup(toy, flags, *passes, dropout=0.3).step()
    two = Setup(toy, flags, *spread, dropout=0.3).step(workers=2)
    assert all(torch.equal(a, b) for a, b in zip(one[3], two[3], strict=True))


def test_dropout_differs_between_any_two_copies_updates_and_batches(toy):
    """Collect the masks of the encoder's input dropout: (update, batch, worker, pass, row)."""
    extra = [*LAYOUTS[3][2][:-1], "2", "--bas-replicas", 8]
    setup = Setup(toy, tiny_transformer, *extra, dropout=0.5)
    masks, batches = [], []
    module = setup.model.encoder.dropout_module
    module.register_forward_hook(lambda m, i, out: batches.append(out.eq(0)))
    dataset = setup.task.dataset("train")
    for update_num, ids in itertools.product((0, 1), ((4, 9, 2), (5, 1, 3))):
        setup.sample = dataset.collater([dataset[i] for i in ids])
        setup.step(update_num, workers=2)
    assert len(batches) == 2 * 2 * 2 * 2  # updates x micro-batches x workers x passes
    for batch in batches:
        masks += list(batch.unflatten(0, (-1, 2))[0])  # both rows of the first sentence
    for one, other in itertools.combinations(masks, 2):
        length = min(len(one), len(other))  # at least 3 positions x 16 units, half of them dropped
        assert 0.1 < (one[:length] != other[:length]).float().mean() < 0.9
    repeated = Setup(toy, tiny_transformer, *extra, dropout=0.5)
    assert torch.equal(repeated.step(0)[0], repeated.step(0)[0])


def test_schedule_follows_updates_and_epochs(toy):
    setup = Setup(toy, tiny_transformer, "--bas-replicas", "1@0,2@10u,3@2e")
    task = setup.task
    assert [task.placement(u).replicas for u in (0, 9, 10, 99)] == [1, 1, 2, 2]
    task.large_batch.planner.begin_epoch(3)
    assert task.placement(0).replicas == 3


def test_sample_is_not_mutated_and_validation_sees_no_copies(toy):
    """Law 4: valid_step equals fairseq's bit for bit; the caller's sample stays as it was."""
    ours = Setup(toy, tiny_transformer, "--bas-replicas", 4, dropout=0.3)
    before = copy.deepcopy(ours.sample)
    ours.step()
    assert str(ours.sample) == str(before)
    plain = Setup(toy, tiny_transformer, dropout=0.3, task="translation")
    a = ours.task.valid_step(ours.sample, ours.model, ours.criterion)
    b = plain.task.valid_step(plain.sample, plain.model, plain.criterion)
    assert torch.equal(a[0], b[0]) and a[1] == b[1] and a[2].keys() == b[2].keys()


def test_stand_in_for_an_empty_micro_batch_weighs_nothing(toy):
    setup = Setup(toy, tiny_transformer, "--bas-replicas", 2, dropout=0.3)
    setup.sample["is_empty"] = True
    loss, sample_size, log, gradients = setup.step()
    assert loss == 0 and sample_size == 0
    assert all(value == 0 for value in log.values())
    assert all(not g.any() for g in gradients)
