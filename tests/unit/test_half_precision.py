"""Whole runs in half precision on a CPU: overflows, exact resume, and what copies change."""

import bisect
import copy
import functools
import itertools

import pytest
import torch
from fairseq import tasks
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler
from fairseq.trainer import Trainer

from fairseq_bas.errors import UserError
from fairseq_bas.precision.loss_scaler import ResumableLossScaler
from fairseq_bas.precision.resume_state import load_precision_state, precision_state
from fairseq_bas.task.stream_states import StreamStates
from tests.in_process import config_of, train_here
from tests.resume_runs import assert_bit_equal
from tests.toys import tiny_awd_lstm_lm, tiny_lstm, tiny_transformer

FP16 = ("--fp16", "--fp16-scale-window", 2, "--fp16-init-scale", 2**16)
BF16 = ("--bf16",)
PARTS = ("model", "last_optimizer_state")


def translation(toy, save_dir, *extra):
    return [*tiny_transformer(toy, save_dir, task="bas_translation"), *extra]


def curves(flags):
    """Return losses and norms of gradients, as logged."""
    log = train_here([*flags, "--no-save", "--disable-validation"])
    return [entry["loss"] for entry in log], [entry["gnorm"] for entry in log]


def losses(flags):
    return curves(flags)[0]


# -- state ------------------------------------------------------------------------------------


def scales(scaler, norms):
    """Return the scale before each update, as ``FP16Optimizer`` drives a scaler."""
    found = []
    for norm in norms:
        found.append(scaler.loss_scale)
        try:
            scaler.check_overflow(norm)
            scaler.update()
        except OverflowError:
            pass
    return found


def test_a_restored_loss_scale_grows_when_the_old_one_would_have():
    generator = torch.Generator().manual_seed(1)
    norms = torch.where(torch.rand(60, generator=generator) < 0.15, torch.inf, 1.0).tolist()
    settings = {"init_scale": 2.0**10, "scale_window": 4, "tolerance": 0.2}
    expected = scales(DynamicLossScaler(**settings), norms)
    assert len(set(expected)) > 3
    for stop in range(1, len(norms), 7):
        first = ResumableLossScaler.of(DynamicLossScaler(**settings))
        found = scales(first, norms[:stop])
        second = ResumableLossScaler.of(DynamicLossScaler(**settings))
        second.load_state_dict(first.state_dict())
        assert found + scales(second, norms[stop:]) == expected
        assert second.overflows == norms.count(torch.inf)


def resumed(flags, tmp_path, update, wanted):
    """Train on from the checkpoint of an update, as it was then; return the last checkpoint."""
    (path,) = (tmp_path / "whole").glob(f"checkpoint_*_{update}.pt")
    flags = [tmp_path / "again" if flag == tmp_path / "whole" else flag for flag in flags]
    log = train_here([*flags, "--restore-file", path])
    assert [entry["bas_overflows"] for entry in log] == wanted
    return torch.load(tmp_path / "again/checkpoint_last.pt", weights_only=False)


def overflowed_after(log):
    """Return the updates after which an update was skipped."""
    pairs = itertools.pairwise(log)
    return [int(a["num_updates"]) for a, b in pairs if b["bas_overflows"] > a["bas_overflows"]]


@pytest.mark.parametrize("kind", ["flat", "memory-efficient", "language"])
def test_a_run_goes_on_exactly_after_an_overflow_and_across_growth(toy, toy_lm, tmp_path, kind):
    precision = {
        "flat": FP16,
        "memory-efficient": (*FP16, "--memory-efficient-fp16"),
        "language": FP16,
    }[kind]
    save = ("--save-interval-updates", 1, "--disable-validation", "--max-update", 6)
    copies = ("--bas-replicas", 2, "--bas-target-noise", "mask=0.1")
    if kind == "language":
        flags = tiny_awd_lstm_lm(toy_lm, tmp_path / "whole")
        flags += ["--bas-variable-bptt", "--optimizer", "sgd", "--lr", 1]
    else:
        flags = translation(toy, tmp_path / "whole")
    flags += [*save, *copies, *precision]
    log = train_here(flags)
    chosen = overflowed_after(log)[0]  # saved anew after the update that was skipped
    assert 0 < chosen < 5 and len({entry["loss_scale"] for entry in log}) > 1
    whole = torch.load(tmp_path / "whole/checkpoint_last.pt", weights_only=False)
    wanted = [entry["bas_overflows"] for entry in log[chosen:]]
    again = resumed(flags, tmp_path, chosen, wanted)
    assert_bit_equal(again, whole, *PARTS)
    states = [c["last_optimizer_state"]["bas_precision"]["scaler"] for c in (again, whole)]
    assert states[0] == states[1]


def test_bfloat16_goes_on_exactly(toy, tmp_path):
    save = ("--save-interval-updates", 2, "--disable-validation", "--max-update", 5)
    flags = translation(toy, tmp_path / "whole", *BF16, *save, "--bas-replicas", 2)
    train_here(flags)
    (path,) = (tmp_path / "whole").glob("checkpoint_*_2.pt")
    again = [tmp_path / "again" if flag == tmp_path / "whole" else flag for flag in flags]
    train_here([*again, "--restore-file", path])
    ends = [tmp_path / f"{name}/checkpoint_last.pt" for name in ("whole", "again")]
    assert_bit_equal(*(torch.load(end, weights_only=False) for end in ends), *PARTS)


def test_weights_of_an_averaged_checkpoint_stay(toy):
    trainer = built(toy, "--bf16")
    state = copy.deepcopy(precision_state(trainer.optimizer))
    weight = trainer.optimizer.fp32_params[0]
    exact = state["weights"][0]
    exact.mul_(1 + 2.0**-12)  # rounds to the same bfloat16
    exact.view(-1)[0] += 1  # does not
    first = weight.view(-1)[0].clone()
    load_precision_state(trainer.optimizer, state)
    assert torch.equal(weight.view(-1)[1:], exact.view(-1)[1:])
    assert weight.view(-1)[0] == first


def test_a_window_that_is_read_again_starts_from_where_it_started():
    states, cpu = StreamStates(), torch.device("cpu")

    def read(window, value):
        carried = states.before(0, window, range(1), cpu)
        before = None if carried.value is None else carried.value[0][0].item()
        carried.store([(torch.full((1, 1), value), torch.full((1, 1), value))])
        states.after(range(1), carried)
        states.commit(0, window)
        return before

    assert [read(0, 1.0), read(1, 2.0), read(1, 3.0), read(1, 4.0), read(2, 5.0)] == [
        *(None, 1.0, 1.0, 1.0),
        4.0,
    ]
    broken = torch.tensor([[torch.nan]]).half()
    carried = states.before(0, 3, range(1), cpu)
    carried.store([(broken, broken)])
    states.after(range(1), carried)
    states.commit(0, 3)
    assert states.before(0, 4, range(1), cpu).value[0][0].item() == 0.0


# -- copies -----------------------------------------------------------------------------------


def built(toy, *extra):
    """Return a trainer whose iterator is ready."""
    cfg = config_of(translation(toy, "unused", "--dropout", 0, *extra))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(0)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    return Trainer(cfg, task, model, criterion)


def largest_scale(toy, replicas, *extra):
    """Return the largest power of two that the loss can be multiplied by without overflow."""
    trainer = built(toy, "--fp16", "--bas-replicas", replicas, *extra)
    sample = next(trainer.get_train_iterator(1).next_epoch_itr(shuffle=False))
    step = functools.partial(trainer.task.train_step, model=trainer.model, update_num=0)

    def overflows(power):
        trainer.zero_grad()
        trainer.optimizer.scaler.loss_scale = 2.0**power
        step(copy.deepcopy(sample), criterion=trainer.criterion, optimizer=trainer.optimizer)
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        return not all(gradient.isfinite().all() for gradient in gradients)

    return bisect.bisect_left(range(24), True, key=overflows) - 1


@pytest.mark.parametrize("criterion", ["label_smoothed_cross_entropy", "bas_cross_entropy"])
def test_copies_do_not_lower_the_largest_loss_scale(toy, criterion):
    flags = ("--criterion", criterion)
    one, rows, passes = (
        largest_scale(toy, replicas, "--bas-placement", placement, *flags)
        for replicas, placement in ((1, "rows"), (8, "rows"), (8, "passes"))
    )
    assert 5 < one < 22
    assert min(rows, passes) >= one


ROUNDING = {"--fp16": 2.0**-11, "--bf16": 2.0**-8}


@pytest.mark.parametrize("replicas", [1, 4, 8])
def test_losses_stay_near_those_of_float32(toy, tmp_path, replicas):
    noise = ("--bas-source-noise", "drop=0.1", "--bas-target-noise", "mask=0.1")
    loss = ("--dropout", 0, "--criterion", "bas_cross_entropy", "--bas-replicas", replicas)
    flags = translation(toy, tmp_path, *loss, *noise, "--max-update", 8)
    compare = ("--bas-consistency", "rdrop") if replicas > 1 else ()
    whole, whole_norms = curves([*flags, *compare])
    for precision, unit in ROUNDING.items():
        half, norms = curves([*flags, *compare, precision, "--fp16-init-scale", 128])
        assert (half, norms) != (whole, whole_norms)  # three digits of a few losses may agree
        assert half == pytest.approx(whole, rel=4 * unit)


def test_the_noise_scale_knows_the_loss_scale(toy, tmp_path):
    schedule = ("--bas-batch-schedule", "norm-test:theta=0.5,max=4x,extend", "--max-tokens", 60)
    flags = translation(toy, tmp_path, "--dropout", 0, *schedule, "--max-update", 6)
    runs = []
    for precision in ((), ("--fp16", "--fp16-init-scale", 2**10)):
        log = train_here([*flags, *precision, "--no-save", "--disable-validation"])
        runs.append([(entry["bsz"], entry["gnorm"]) for entry in log])
        runs[-1].append((log[-1]["bas_noise_scale"],))
    for whole, half in zip(*runs, strict=True):
        assert half == pytest.approx(whole, rel=0.01)


@pytest.mark.parametrize(
    "flags",
    [
        ("--bas-adversarial", "fgsm"),
        ("--optimizer", "bas_lamb", "--fp16-no-flatten-grads"),
        ("--optimizer", "bas_lars", "--lr", 1, "--fp16-no-flatten-grads"),
        ("--optimizer", "bas_novograd", "--fp16-no-flatten-grads"),
        ("--optimizer", "bas_nt_asgd", "--bas-average-now", "--lr", 0.1),
        ("--bas-source-noise", "feature-cutoff=0.1,jitter=0.1"),
    ],
)
def test_what_changes_updates_runs_in_fp16_as_in_float32(toy, tmp_path, flags):
    common = translation(toy, tmp_path, "--dropout", 0, "--bas-replicas", 2, "--max-update", 4)
    half = losses([*common, *flags, "--fp16"])
    whole = losses([*common, *(flag for flag in flags if flag != "--fp16-no-flatten-grads")])
    assert half == pytest.approx(whole, rel=4 * ROUNDING["--fp16"])


def test_zoneout_lstms_stay_near_float32(toy_lm, tmp_path):
    """The same units are kept in every precision, and cells are in float32."""
    rates = [f"--bas-dropout-{place}" for place in ("embedding", "input", "hidden", "output")]
    off = [flag for rate in [*rates, "--bas-weight-drop"] for flag in (rate, 0)]
    flags = [*tiny_awd_lstm_lm(toy_lm, tmp_path), *off, "--max-update", 4, "--lr", 0.3]
    zoneout = ("--bas-zoneout-hidden", 0.5, "--bas-zoneout-cell", 0.5, "--bas-replicas", 2)
    whole, whole_norms = curves([*flags, *zoneout])
    for precision, unit in ROUNDING.items():
        half, norms = curves([*flags, *zoneout, precision, "--fp16-init-scale", 128])
        assert (half, norms) != (whole, whole_norms)
        assert half == pytest.approx(whole, rel=4 * unit)
    assert losses(flags) != pytest.approx(whole, rel=4 * ROUNDING["--bf16"])


# -- flags and endings ------------------------------------------------------------------------


def test_bf16_means_a_tpu_only_in_runs_of_fairseq(toy):
    assert not config_of(translation(toy, "unused", "--bf16")).common.tpu
    assert not config_of(translation(toy, "unused", "--memory-efficient-bf16")).common.tpu
    assert config_of(translation(toy, "unused", "--bf16", "--tpu")).common.tpu
    assert config_of([*tiny_lstm(toy, "unused"), "--bf16"]).common.tpu


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--lr", 1e30, "--clip-norm", 0), "^update 2: its gradient is not finite.*lower --lr"),
        (
            ("--fp16", "--fp16-init-scale", 2**18, "--min-loss-scale", 2**16),
            "^update 1: .*--min-loss-scale 65536 .*--bf16",
        ),
        (("--fp16", "--optimizer", "adagrad"), "adagrad .*--fp16-no-flatten-grads"),
        (("--memory-efficient-fp16", "--optimizer", "adagrad"), "adagrad .*pass --fp16 or --bf16"),
        (("--fp16", "--update-freq", "1,2"), "--fp16-scale-window too"),
    ],
)
def test_a_run_ends_in_one_line(toy, tmp_path, flags, problem):
    with pytest.raises(UserError, match=problem) as ended:
        losses(translation(toy, tmp_path, *flags))
    assert "\n" not in str(ended.value)
