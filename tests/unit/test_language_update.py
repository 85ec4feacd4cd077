"""Laws 1 to 4 for language models in one process: real task, model and iterator, in float64."""

import copy
import itertools

import pytest
import torch
from fairseq import tasks

from fairseq_bas.nn.carried_state import CarriedState
from tests.in_process import parts_of
from tests.toys import tiny_awd_lstm_lm

NO_DROPOUT = [
    *itertools.chain.from_iterable(
        (f"--bas-dropout-{place}", 0) for place in ("embedding", "input", "hidden", "output")
    ),
    *("--bas-weight-drop", 0),
]
REGULARISED = ["--bas-ar", 2, "--bas-tar", 1, "--bas-variable-bptt"]


class Gradients:
    """The part of an optimizer that a train step uses: backward, gradients add up."""

    def backward(self, loss):
        loss.backward()


class Setup:
    """A language modelling task, a float64 model, and the micro-batches of its first epoch."""

    def __init__(self, toy_lm, *extra, workers=1, model=tiny_awd_lstm_lm):
        cfg = parts_of([*model(toy_lm, "unused", task="bas_language_modeling"), *extra])
        cfg.task.distributed_world_size = workers
        self.task = tasks.setup_task(cfg.task)
        torch.manual_seed(0)
        self.model = self.task.build_model(cfg.model).double()
        self.criterion = self.task.build_criterion(cfg.criterion)
        self.task.load_dataset("train")
        self.task.load_dataset("valid")

    def batches(self, worker=0, workers=1):
        """Return the micro-batches that a worker reads in the first epoch."""
        iterator = self.task.get_batch_iterator(
            self.task.dataset("train"), num_shards=workers, shard_id=worker, epoch=1
        )
        return list(iterator.next_epoch_itr())

    def update(self, micro_batches, update_num=0):
        """Return sums over micro-batches of loss, sample size, logs, and the gradients."""
        self.model.zero_grad()
        outputs = [
            self.task.train_step(batch, self.model, self.criterion, Gradients(), update_num)
            for batch in micro_batches
        ]
        log = {key: sum(float(out[2][key]) for out in outputs) for key in outputs[0][2]}
        gradients = [parameter.grad.clone() for parameter in self.model.parameters()]
        return float(sum(out[0] for out in outputs)), sum(out[1] for out in outputs), log, gradients


def assert_same_update(one, other, tolerance=1e-11):
    """Compare losses, divisors, logs and gradients."""
    assert one[0] == pytest.approx(other[0], rel=tolerance)
    assert one[1] == other[1]
    for key in ("loss", "nll_loss", "ntokens", "sample_size"):
        assert one[2][key] == pytest.approx(other[2][key], rel=tolerance), key
    for mine, theirs in zip(one[3], other[3], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("placement", ["rows", "passes"])
def test_noiseless_copies_are_one_copy(toy_lm, placement):
    """Law 1, over windows with carried state, the regularisation of activations included."""
    flags = [*NO_DROPOUT, *REGULARISED]
    one = Setup(toy_lm, *flags)
    many = Setup(toy_lm, *flags, "--bas-replicas", 3, "--bas-placement", placement)
    for number, (batch, same) in enumerate(zip(one.batches()[:4], many.batches(), strict=False)):
        assert_same_update(one.update([batch], number), many.update([same], number))


def test_copies_are_the_mean_of_single_runs(toy_lm):
    """Each copy goes its own way with its own state: the gradient is the mean over those runs."""
    flags = [*REGULARISED, "--bas-target-noise", "mask=0.3"]
    many = Setup(toy_lm, *flags, "--bas-replicas", 3, "--bas-placement", "passes")
    updates = [many.update([batch], n) for n, batch in enumerate(many.batches()[:3])]
    alone = []
    for replica in range(3):
        setup = Setup(toy_lm, *flags, "--bas-replicas", 3, "--bas-placement", "passes")
        setup.task.placement = lambda update, replica=replica: _Only(replica)
        alone.append([setup.update([batch], n) for n, batch in enumerate(setup.batches()[:3])])
    for number, update in enumerate(updates):
        for index, gradient in enumerate(update[3]):
            # The loss is divided by M in single runs too, so theirs are parts of a sum.
            expected = sum(runs[number][3][index] for runs in alone)
            torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-12)


class _Only:
    """A placement of three copies of which one runs."""

    replicas, rows, workers = 3, 1, 1

    def __init__(self, replica):
        self.replica = replica

    def passes_of(self, worker):
        return [range(self.replica, self.replica + 1)]


def test_rows_and_passes_agree_with_noise_and_state(toy_lm):
    """Law 2: placement changes no number, for noise of ours and carried states of each copy."""
    flags = [*NO_DROPOUT, *REGULARISED, "--bas-target-noise", "mask=0.3,bigram=0.2,jitter=0.1"]
    layouts = [
        ["--bas-replicas", 4],
        ["--bas-replicas", 4, "--bas-placement", "passes"],
        ["--bas-replicas", 4, "--bas-replicas-per-pass", 2],
    ]
    setups = [Setup(toy_lm, *flags, *layout) for layout in layouts]
    for number, batches in enumerate(zip(*(setup.batches()[:3] for setup in setups), strict=True)):
        rows, passes, mixed = (
            setup.update([batch], number) for setup, batch in zip(setups, batches, strict=True)
        )
        assert_same_update(rows, passes)
        assert_same_update(rows, mixed)


def test_streams_over_micro_batches_and_workers_agree(toy_lm):
    """Law 2: ten streams at once, as two micro-batches, and on two workers, through two windows."""
    flags = [*NO_DROPOUT, *REGULARISED, "--bas-target-noise", "mask=0.3", "--bas-replicas", 2]
    whole = Setup(toy_lm, *flags, "--batch-size", 10)
    parts = Setup(toy_lm, *flags, "--update-freq", 2)
    workers = [Setup(toy_lm, *flags, workers=2) for _ in range(2)]
    read = [setup.batches(worker, 2) for worker, setup in enumerate(workers)]
    for window in range(3):
        expected = whole.update([whole.batches()[window]], window)
        assert_same_update(
            expected, parts.update(parts.batches()[2 * window : 2 * window + 2], window)
        )
        shares = [
            setup.update([batches[window]], window)
            for setup, batches in zip(workers, read, strict=True)
        ]
        together = (
            sum(share[0] for share in shares),
            sum(share[1] for share in shares),
            {key: sum(share[2][key] for share in shares) for key in shares[0][2]},
            [sum(gradients) for gradients in zip(*(share[3] for share in shares), strict=True)],
        )
        assert_same_update(expected, together)


def test_shared_state_starts_all_copies_from_copy_zero(toy_lm):
    """With --bas-share-state the second window of every copy starts where copy 0 ended."""
    flags = ["--bas-replicas", 3, "--bas-target-noise", "mask=0.5", "--bas-share-state"]
    rows, passes = (
        Setup(toy_lm, *NO_DROPOUT, *flags, "--bas-placement", kind) for kind in ("rows", "passes")
    )
    for number, (batch, same) in enumerate(zip(rows.batches()[:3], passes.batches(), strict=False)):
        assert_same_update(rows.update([batch], number), passes.update([same], number))
        assert set(rows.task.stream_states.states[0]) == {0}
    own = Setup(toy_lm, *NO_DROPOUT, *flags[:-1])
    for number, batch in enumerate(own.batches()[:2]):
        last = own.update([batch], number)
    assert last[0] != pytest.approx(rows.update([own.batches()[1]], 1)[0], rel=1e-6)


def test_consistency_over_passes_reads_the_same_states(toy_lm):
    """The round that collects features does not move the state of the streams."""
    flags = [*NO_DROPOUT, "--bas-target-noise", "mask=0.3", "--bas-replicas", 3]
    flags += ["--bas-consistency", "l2"]
    rows, passes = (Setup(toy_lm, *flags, "--bas-placement", kind) for kind in ("rows", "passes"))
    for number, (batch, same) in enumerate(zip(rows.batches()[:3], passes.batches(), strict=False)):
        assert_same_update(rows.update([batch], number), passes.update([same], number))


def test_offset_copies_are_the_mean_of_shifted_texts(toy_lm):
    """Copy m reads the text m / M of a window further on, with a state of its own."""
    offset = Setup(toy_lm, *NO_DROPOUT, "--bas-replicas", 3, "--bas-offset-copies")
    plain = Setup(toy_lm, *NO_DROPOUT)
    text = plain.task.dataset("train").tokens.copy()
    streams = len(text) // 5
    for number, batch in enumerate(offset.batches()[:2]):
        gradients = offset.update([batch], number)[3]
        expected = [torch.zeros_like(gradient) for gradient in gradients]
        for shift in (0, 4, 8):
            state = CarriedState()
            start = 12 * number
            for first in range(0, start + 12, 12):
                plain.model.zero_grad()
                places = torch.tensor(
                    [
                        [(s * streams + first + t + shift) % len(text) for t in range(12)]
                        for s in range(5)
                    ]
                )
                labels = torch.from_numpy(text)[places].long()
                before = torch.where(places > 0, torch.from_numpy(text)[places - 1], 2).long()
                logits, _ = plain.model(before, state=state)
                torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), labels.flatten(), reduction="sum"
                ).backward()
            for total, parameter in zip(expected, plain.model.parameters(), strict=True):
                total += parameter.grad / 3
        for mine, theirs in zip(gradients, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-11)


def test_validation_reads_the_whole_text_in_one_piece(toy_lm):
    """Law 4: the loss is that of one pass over the whole text, without copies or noise."""
    flags = ["--bas-replicas", 3, "--bas-target-noise", "mask=0.5"]
    setup = Setup(toy_lm, *flags)
    text = setup.task.dataset("valid").tokens
    setup.update([setup.batches()[0]])
    states = copy.deepcopy(setup.task.stream_states.states)
    for _ in range(2):
        batches = setup.task.get_batch_iterator(
            setup.task.dataset("valid"), num_shards=4, shard_id=2
        ).next_epoch_itr(shuffle=False)
        loss = tokens = 0
        for batch in batches:
            keys = set(batch["net_input"])
            out = setup.task.valid_step(batch, setup.model, setup.criterion)
            assert set(batch["net_input"]) == keys
            loss, tokens = loss + float(out[2]["nll_loss"]), tokens + out[1]
        labels = torch.from_numpy(text).long()
        inputs = torch.cat([torch.tensor([2]), labels[:-1]])
        logits, _ = setup.model.eval()(inputs[None])
        expected = torch.nn.functional.cross_entropy(logits[0], labels, reduction="sum")
        assert loss == pytest.approx(float(expected), rel=1e-10)
        assert tokens == len(text)
    for stream, by_replica in setup.task.stream_states.states.items():
        for replica, state in by_replica.items():
            for mine, before in zip(state, states[stream][replica], strict=True):
                assert torch.equal(mine[0], before[0])


def test_window_length_scales_the_learning_rate_of_its_update(toy_lm):
    """The step has lr * length / --tokens-per-sample, and the rate is then as before."""
    setup = Setup(toy_lm, "--bas-variable-bptt")

    class Optimizer(Gradients):
        rate, used = 0.5, None

        def get_lr(self):
            return self.rate

        def set_lr(self, rate):
            self.rate = rate

        def step(self):
            self.used = self.rate

    for number, batch in enumerate(setup.batches()[:3]):
        optimizer = Optimizer()
        setup.task.train_step(batch, setup.model, setup.criterion, optimizer, number)
        setup.task.optimizer_step(optimizer, setup.model, number)
        assert optimizer.used == pytest.approx(0.5 * batch["target"].size(1) / 12)
        assert optimizer.rate == 0.5
