"""Gradients of single copies of a real model, and what is predicted from them."""

import numpy as np
import pytest
import torch

from fairseq_bas.measure.replica_variance import ReplicaVariance
from fairseq_bas.tool.gradient_batches import MicroBatch, SentencePool, collate
from fairseq_bas.tool.gradient_flags import RunFlags
from fairseq_bas.tool.gradient_run import GradientRun
from fairseq_bas.tool.gradient_setup import GradientSetup, limits, read_checkpoint, run_batch
from tests.in_process import train_here
from tests.toys import tiny_transformer

CPU = torch.device("cpu")
LARGE_DROPOUT = ["--dropout", "0.4"]


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """A checkpoint of a tiny transformer of fairseq's own task after a few updates."""
    folder = tmp_path_factory.mktemp("stock")
    flags = [*tiny_transformer(toy, folder), "--max-update", 6, "--disable-validation"]
    train_here([*flags, "--update-freq", 3, "--no-epoch-checkpoints"])
    return read_checkpoint(str(folder / "checkpoint_last.pt"))


def setup_of(trained, toy, replicas, flags=(), placement="passes", seed=1):
    changed = trained.flags.with_flags(flags) if flags else None
    where = (str(toy.bin), "train", replicas, seed, CPU)
    return GradientSetup(trained, *where, changed, placement)


def pool_of(setup, max_sentences=12):
    return SentencePool(setup.task, setup.dataset, setup.model, 200, max_sentences, seed=1)


class Adding:
    """An optimizer that only runs the backward pass."""

    @staticmethod
    def backward(loss):
        loss.backward()


def trained_gradient(setup, ids, update_num):
    """Return the gradient of an update as training has it, straight from ``.grad``: (n,)."""
    setup.model.zero_grad()
    sample = collate(setup.dataset, ids, {})
    _, size, _ = setup.task.train_step(sample, setup.model, setup.criterion, Adding, update_num)
    flat = torch.cat([p.grad.reshape(-1) for p in setup.parameters])
    return flat.double() / float(size)


def spread(gradients):
    """Return the total variance of gradients (D, n), and its standard error."""
    squares = ((gradients - gradients.mean(dim=0)) ** 2).sum(dim=1)
    count = len(squares)
    return float(squares.sum() / (count - 1)), float(squares.std() / count**0.5)


def test_predicted_variances_are_those_of_repeated_updates(trained, toy):
    """Measured in passes of single copies; checked on updates with M copies side by side."""
    setup = setup_of(trained, toy, 4, LARGE_DROPOUT)
    pool = pool_of(setup)
    measured = GradientRun(setup).measure(pool.random(32, [1]), groups=16)
    found = ReplicaVariance(measured.groups.moments().estimates())
    random, directly = np.random.default_rng(99), {}
    for replicas in (1, 2, 4):
        updates = setup_of(trained, toy, replicas, LARGE_DROPOUT, "rows", seed=7)
        gradients, tokens = [], []
        for number in range(70):
            ids = np.sort(random.integers(len(updates.dataset), size=12))
            gradients.append(trained_gradient(updates, ids, 1000 + number))
            tokens.append(sum(updates.dataset.tgt_sizes[ids]))
        variance, error = spread(torch.stack(gradients))
        predicted, per_batch = found.variance(replicas), np.mean(1 / np.array(tokens))
        half = (predicted.high - predicted.low) / 2 * per_batch
        assert abs(variance - predicted.value * per_batch) < (half**2 + (2 * error) ** 2) ** 0.5
        assert half < 0.2 * variance and 2 * error < 0.2 * variance, "error bars tell something"
        directly[replicas] = (variance, error)
    # More copies do lower the variance, by as much as the correlation between them says.
    assert directly[1][0] - directly[4][0] > 4 * (directly[1][1] ** 2 + directly[4][1] ** 2) ** 0.5
    gain = found.factor(4)
    assert 1.1 < gain.low < directly[1][0] / directly[4][0] * 1.1
    assert gain.high > directly[1][0] / directly[4][0] / 1.1


def test_copies_add_up_to_the_gradient_of_training(trained, toy):
    """Whatever the parts: the mean over copies is what training makes of text noise in rows."""
    flags = ["--dropout", "0", "--bas-source-noise", "mask=0.3"]
    alone = setup_of(trained, toy, 3, flags)
    ids = np.array([3, 8, 21, 40, 40])
    parts = MicroBatch([ids[:2], ids[2:]])
    copies, weight, tokens = GradientRun(alone).gradients(parts, key=5)
    flat = [torch.cat([part.reshape(-1) for part in copy]).double() for copy in copies]
    together = setup_of(trained, toy, 3, flags, "rows")
    expected = trained_gradient(together, ids, alone.updates + 5)
    torch.testing.assert_close(sum(flat) / 3 / weight, expected, rtol=1e-4, atol=1e-7)
    assert weight == tokens == sum(alone.dataset.tgt_sizes[ids])
    assert not torch.allclose(flat[0], flat[1], rtol=1e-3), "copies have noise of their own"


def test_a_repeated_sentence_has_noise_of_its_own(trained, toy):
    setup = setup_of(trained, toy, 1, ["--dropout", "0", "--bas-source-noise", "mask=0.5"])
    sample = collate(setup.dataset, np.array([9, 9, 9]), {})
    assert sorted(sample["id"].tolist()) == [9, 69, 129], "60 sentences"
    noisy = setup.task.copy_noise.apply(
        {**sample, "replica": torch.zeros(3).long(), "num_replicas": 1, "row": torch.arange(3)}, 1
    )
    assert len({tuple(row) for row in noisy["net_input"]["src_tokens"].tolist()}) > 1


def test_without_noise_copies_are_alike_and_no_noise_is_evaluation_mode(trained, toy):
    still = setup_of(trained, toy, 2, ["--dropout", "0"])
    (one, other), weight, _ = GradientRun(still).gradients(MicroBatch([np.arange(6)]), 0)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    noisy = setup_of(trained, toy, 1)
    run = GradientRun(noisy, is_noisy=False)
    (quiet,), quiet_weight, _ = run.gradients(MicroBatch([np.arange(6)]), 3)
    for a, b in zip(one, quiet, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert weight == quiet_weight
    assert any(module.p == 0.1 for module in noisy.model.modules() if hasattr(module, "p"))


def test_flags_change_one_setting_only(trained, toy):
    """A namespace of an old-style model is not shared between settings."""
    flags = trained.flags
    assert flags.task_name == "bas_translation" and not flags.has_noise() and not flags.notes
    changed = flags.with_flags(["--dropout", "0.5", "--bas-source-noise", "drop=0.2"])
    assert (flags.get("dropout"), changed.get("dropout")) == (0.1, 0.5)
    assert changed.has_noise() and not changed.without_noise().has_noise()
    for given, sentence in (
        (["--bas-replicas", "3"], "--bas-replicas decides how copies run together"),
        (["--bas-complementary-noise"], "--bas-complementary-noise decides how copies run"),
        (["--max-update", "3"], "--max-update is no flag of the task, the model or the loss"),
        (["--arch", "lstm"], "--arch cannot change, as the checkpoint was trained with"),
    ):
        with pytest.raises(ValueError, match=sentence):
            flags.with_flags(given)


def test_micro_batches_are_independent_draws_within_bounds(trained, toy):
    setup = setup_of(trained, toy, 1)
    pool = SentencePool(setup.task, setup.dataset, setup.model, 100, None, seed=1)
    lengths = np.array([setup.dataset.num_tokens(i) for i in range(60)])
    assert pool.sentences == 60 and pool.has_lengths
    assert pool.sentences_per_batch == int(100 / lengths.mean())
    drawn = pool.random(200, [1])
    again = pool.random(200, [1])
    for batch, same in zip(drawn, again, strict=True):
        assert batch.sentences == pool.sentences_per_batch
        assert all(len(part) * lengths[part].max() <= 100 for part in batch.parts)
        assert [list(part) for part in batch.parts] == [list(part) for part in same.parts]
    counts = np.bincount(np.concatenate([p for b in drawn for p in b.parts]), minlength=60)
    expected = 200 * pool.sentences_per_batch / 60
    assert np.all(abs(counts - expected) < 5 * expected**0.5), "every sentence, long or short"
    means = [lengths[batch.parts[0]].mean() for batch in pool.by_length(50, [1])]
    mixed = [lengths[np.concatenate(batch.parts)].mean() for batch in drawn]
    assert np.std(means) > 3 * np.std(mixed), "fairseq puts sentences of like length together"


def test_bounds_and_batch_are_those_of_the_run(trained, toy):
    setup = setup_of(trained, toy, 1)
    assert limits(trained, None) == (200, None) and limits(trained, 64) == (64, None)
    pool = pool_of(setup)
    iterator = setup.task.get_batch_iterator(
        setup.dataset, max_tokens=200, max_positions=(1024, 1024)
    )
    mean = setup.dataset.tgt_sizes.sum() / len(iterator.frozen_batches)
    assert run_batch(trained, pool) == pytest.approx(3 * mean), "--update-freq 3"


def test_checkpoints_that_cannot_be_measured(trained, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_checkpoint(str(tmp_path / "none.pt"))
    torch.save({**trained.state, "cfg": None}, tmp_path / "bare.pt")
    with pytest.raises(ValueError, match="does not say what model it holds"):
        read_checkpoint(str(tmp_path / "bare.pt"))
    cfg = trained.flags.copied().cfg
    cfg.task._name = "multilingual_translation"
    with pytest.raises(ValueError, match="neither translation nor language modelling"):
        RunFlags(cfg, "other.pt")


def test_flags_of_another_shape(trained, toy):
    with pytest.raises(ValueError, match="no flag that changes the shape of the model"):
        setup_of(trained, toy, 1, ["--encoder-layers", "2"])
