"""What follows from a batch kappa times as large: formulas, and what a run makes of them."""

import math

import pytest
import torch

from fairseq_bas.schedule.scaling_rule import ScalingRule, parse_scaling_rule
from tests.in_process import train_here
from tests.resume_runs import assert_bit_equal, last_checkpoint
from tests.toys import tiny_transformer

ALL = ScalingRule(0.5, ("betas", "eps", "ema", "clip"))


def test_two_scalings_are_one_by_their_product():
    for one, other in ((2.0, 8.0), (0.5, 3.0)):
        both = one * other
        assert ALL.learning_rate(one) * ALL.learning_rate(other) == pytest.approx(
            ALL.learning_rate(both)
        )
        assert ALL.ema_decay(ALL.ema_decay(0.999, one), other) == pytest.approx(
            ALL.ema_decay(0.999, both)
        )
        assert ALL.eps(ALL.eps(1e-8, one), other) == pytest.approx(ALL.eps(1e-8, both))


def test_betas_keep_the_samples_an_average_looks_back_over():
    """B / (1 - beta) samples at every batch, to first order in 1 - beta."""
    for kappa in (1, 2, 4):
        betas = ALL.betas((0.9, 0.98), kappa)
        assert [kappa / (1 - beta) for beta in betas] == pytest.approx([10, 50])
    assert ALL.betas((0.9, 0.98), 20) == (0, 0.6)


def test_average_of_weights_forgets_as_much_text():
    """Kappa reference updates with decay rho shrink the old average by rho^kappa."""
    average = 1.0
    for _ in range(3):
        average *= 0.9
    assert ALL.ema_decay(0.9, 3) == pytest.approx(average)


def test_clip_follows_the_norm_of_a_noisy_gradient():
    """Clipping cuts the same share of gradients: their mean square norm by simulation."""
    generator = torch.Generator().manual_seed(0)
    signal, variance, reference, kappa = torch.full((50,), 0.1), 2.0, 4, 8

    def norm(batch):
        noise = torch.randn(4000, 50, generator=generator) * math.sqrt(variance / batch / 50)
        return (signal + noise).square().sum(dim=1).mean().sqrt().item()

    ratio = variance / reference / signal.square().sum().item()
    scaled = ALL.clip_norm(1.0, kappa, noise_to_signal=ratio)
    assert scaled == pytest.approx(norm(reference * kappa) / norm(reference), rel=0.01)


@pytest.mark.parametrize(
    ("scaling", "also", "message"),
    [
        ("cubic", None, "--bas-lr-scaling cubic is neither none, sqrt, linear nor an exponent"),
        ("1.5", None, "--bas-lr-scaling 1.5 is neither none"),
        ("nan", None, "--bas-lr-scaling nan is neither none"),
        ("sqrt", "betas,momentum", "--bas-scale-also betas,momentum: 'momentum' is not one of"),
    ],
)
def test_bad_rules_are_refused_in_one_sentence(scaling, also, message):
    with pytest.raises(ValueError, match="^" + message):
        parse_scaling_rule(scaling, also)


def run(toy, save_dir, *extra):
    flags = tiny_transformer(toy, save_dir, task="bas_translation")
    sizes = ("--batch-size", 4, "--max-tokens", 1000, "--disable-validation", "--max-update", 3)
    return train_here([*flags, *sizes, "--bas-batch-schedule", "4x", *extra])


def test_adams_settings_and_average_follow_the_batch(toy, tmp_path):
    scheduler = ("--lr-scheduler", "bas_scaled", "--bas-scale-also", "betas,eps,ema")
    average = ("--store-ema", "--ema-decay", 0.9, "--adam-betas", "(0.9, 0.98)")
    log = run(toy, tmp_path, *scheduler, *average)
    group = last_checkpoint(tmp_path)["last_optimizer_state"]["param_groups"][0]
    assert group["betas"] == pytest.approx((0.6, 0.92)) and group["eps"] == pytest.approx(5e-9)
    assert [entry["ema_decay"] for entry in log] == pytest.approx([0.9**4] * 3)


def test_clipping_follows_the_batch(toy, tmp_path):
    """Bit for bit the run with half of the threshold, as kappa is 4 and nothing was measured."""
    sgd = ("--optimizer", "sgd", "--lr", 1)
    scaled = ("--lr-scheduler", "bas_scaled", "--bas-scale-also", "clip", "--clip-norm", 0.1)
    run(toy, tmp_path / "scaled", *sgd, *scaled)
    run(toy, tmp_path / "half", *sgd, "--clip-norm", 0.05)
    run(toy, tmp_path / "same", *sgd, "--clip-norm", 0.1)
    scaled, half, same = (last_checkpoint(tmp_path / name) for name in ("scaled", "half", "same"))
    assert_bit_equal(scaled, half, "model")
    with pytest.raises(AssertionError):
        assert_bit_equal(scaled, same, "model")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--lr-scheduler", "bas_legw"), "--lr-scheduler bas_legw is a rule about warm-up"),
        (
            ("--lr-scheduler", "bas_scaled", "--bas-base-schedule", "inverse_sqrt"),
            "--bas-base-schedule inverse_sqrt decays from the end of a warm-up on",
        ),
        (
            ("--lr-scheduler", "bas_scaled", "--bas-gradual-warmup", "5x"),
            "--bas-gradual-warmup 5x is no number of updates or epochs",
        ),
        (
            ("--lr-scheduler", "bas_adascale", "--bas-lr-scaling", "sqrt"),
            "--lr-scheduler bas_adascale scales the learning rate by its own gain",
        ),
        (
            ("--lr-scheduler", "bas_adascale", "--bas-measure-every", 0),
            "--lr-scheduler bas_adascale needs the gradient noise scale",
        ),
        (
            ("--lr-scheduler", "bas_scaled", "--bas-batch-schedule", "smith:max=4x"),
            "--bas-batch-schedule smith turns the decay over the data seen into growth",
        ),
        (
            ("--bas-batch-schedule", "adabatch:factor=2,every=1e,max=4x"),
            "--bas-batch-schedule adabatch moves the learning rate together with the batch",
        ),
        (
            ("--bas-batch-schedule", "seesaw:max=4x", "--lr-scheduler", "bas_adascale"),
            "--bas-batch-schedule seesaw changes the learning rate and",
        ),
        (
            ("--task", "translation", "--lr-scheduler", "bas_scaled"),
            "--lr-scheduler bas_scaled follows the batch, which only tasks of this plugin plan",
        ),
    ],
)
def test_bad_combinations_are_refused_before_training(toy, tmp_path, extra, message):
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    with pytest.raises(SystemExit) as stopped:
        train_here([*flags, "--max-update", 1, *extra])
    assert str(stopped.value).startswith(message) and "\n" not in str(stopped.value)
    assert not list(tmp_path.iterdir())
