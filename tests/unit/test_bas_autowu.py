"""``--lr-scheduler bas_autowu`` as fairseq builds it, saves it and shares it between workers."""

import logging
import math

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.optim import build_optimizer
from fairseq.optim.lr_scheduler import build_lr_scheduler

from fairseq_bas.errors import UserError
from fairseq_bas.schedule import bas_autowu
from tests.forked import FORKSERVER

FLAGS = ["--lr", "0.1", "--max-update", "1000"]


def build(*flags):
    """Build the scheduler and an optimizer as the trainer does, from a command line."""
    parser = options.get_training_parser()
    given = ["data", "--arch", "transformer_tiny", "--optimizer", "adam"]
    args = options.parse_args_and_arch(
        parser, [*given, "--lr-scheduler", "bas_autowu", *map(str, flags)]
    )
    cfg = convert_namespace_to_omegaconf(args)
    optimizer = build_optimizer(cfg.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    scheduler = build_lr_scheduler(cfg.lr_scheduler, optimizer)
    scheduler.step_update(0)
    return scheduler, optimizer


def loss_at(update, lr):
    wiggle = 0.1 * math.sin(12.9898 * update)
    return 4 + 5 * math.exp(-update / 100) + max(0.0, math.log(lr / 1e-3)) + wiggle


def train(scheduler, optimizer, first, last):
    """Make updates in fairseq's order; return the learning rate of each."""
    rates = []
    for update in range(first, last + 1):
        scheduler.step_update(update - 1)
        rates.append(optimizer.get_lr())
        scheduler.step_update(update)  # the trainer, before it reduces the metrics
        scheduler.observe_loss(update, loss_at(update, rates[-1]))
    return rates


def test_flags_reach_the_settings():
    own = "--bas-autowu-min-lr 1e-3 --bas-autowu-max-warmup 0.3 --bas-autowu-every 7"
    last = "--bas-autowu-patience 2 --bas-autowu-decay constant-cosine --seed 9 "
    last += "--bas-autowu-choice lowest"
    settings = build(*FLAGS, *own.split(), *last.split())[0].auto_warmup.settings
    expected = bas_autowu.WarmupSettings(1000, 1e-3, 0.1, 0.3, 7, 2, "constant-cosine", 9, "lowest")
    assert settings == expected
    default = bas_autowu.WarmupSettings(1000, 1e-5, 0.1, 0.5, 0, 3, "cosine", 1, "fastest")
    assert build(*FLAGS)[0].auto_warmup.settings == default


def test_finds_sets_and_logs_the_learning_rate(caplog):
    scheduler, optimizer = build(*FLAGS)
    assert optimizer.get_lr() == 1e-5
    with caplog.at_level(logging.INFO, logger=bas_autowu.__name__):
        rates = train(scheduler, optimizer, 1, 1000)
    warmup = scheduler.auto_warmup
    end, peak = warmup.switched_at, warmup.peak
    assert 1e-3 / 2 < peak < 1e-3 * 2
    assert rates[end - 1] == pytest.approx(1e-5 * 1e4 ** ((end - 1) / 500))
    assert rates[end] == peak  # the first update after the switch
    middle = (end + 1000) // 2
    assert rates[middle] == pytest.approx(peak / 2, rel=0.01)
    [line] = [r.getMessage() for r in caplog.records if r.name == bas_autowu.__name__]
    assert f"passed its minimum; update {end}, lr {peak:.4g}, then cosine" in line


def test_step_update_changes_nothing_but_the_learning_rate():
    scheduler, optimizer = build(*FLAGS)
    train(scheduler, optimizer, 1, 30)
    before = scheduler.state_dict()
    assert [scheduler.step_update(n) for n in (30, 31, 30, 30)] == [
        scheduler.auto_warmup.lr(n) for n in (30, 31, 30, 30)
    ]
    assert scheduler.state_dict() == before


@pytest.fixture(scope="module")
def whole():
    return train(*build(*FLAGS), 1, 800)


@pytest.mark.parametrize("stop", [320, 700])
def test_resume_through_a_checkpoint_is_exact(stop, whole, tmp_path):
    begun = build(*FLAGS)
    train(*begun, 1, stop)
    begun[0].step(1, 4.5)
    torch.save(begun[0].state_dict(), tmp_path / "state.pt")
    scheduler, optimizer = build(*FLAGS)
    scheduler.load_state_dict(torch.load(tmp_path / "state.pt"))  # the safe loader
    assert scheduler.best == 4.5
    assert scheduler.step_update(stop) == whole[stop]
    assert train(scheduler, optimizer, stop + 1, 800) == whole[stop:]


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--lr", "0.1"], "--max-update"),
        (["--lr", "0.1,0.01", "--max-update", "100"], "several values"),
        (["--lr", "1e-6", "--max-update", "100"], "cannot grow"),
        ([*FLAGS, "--bas-autowu-max-warmup", "2"], "--bas-autowu-max-warmup 2"),
    ],
)
def test_bad_flags_are_refused_in_one_line(flags, words):
    with pytest.raises(UserError, match=words) as refusal:
        build(*flags)
    assert "\n" not in str(refusal.value)


def test_checkpoints_that_cannot_go_on_are_refused():
    scheduler, optimizer = build(*FLAGS)
    with pytest.raises(UserError, match="another --lr-scheduler"):
        scheduler.load_state_dict({"best": None})
    train(scheduler, optimizer, 1, 5)
    with pytest.raises(UserError, match="--reset-lr-scheduler"):
        build("--lr", "0.2", "--max-update", "1000")[0].load_state_dict(scheduler.state_dict())


def test_a_run_that_tells_no_loss_is_refused():
    scheduler, _ = build(*FLAGS)
    with pytest.raises(UserError, match="told no losses"):
        for update in range(20):
            scheduler.step_update(update)
    scheduler, _ = build(*FLAGS)
    for update in range(300, 320):  # a scheduler reset in the middle of a run
        scheduler.step_update(update)
        scheduler.observe_loss(update, 5.0)


def work(rank, store, answers):
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    scheduler, _ = build("--lr", "0.1", "--max-update", "20")
    for update in range(1, 6):  # the workers' losses differ by far more than the last bit
        scheduler.observe_loss(update, 5 + abs(update - 2 - 2 * rank))
    scheduler.observe_loss(6, math.nan)
    answers.put((scheduler.auto_warmup.switched_at, scheduler.step_update(6)))
    torch.distributed.destroy_process_group()


@pytest.mark.dist
def test_workers_take_the_decision_of_the_first(tmp_path):
    answers = FORKSERVER.Queue()
    store = f"file://{tmp_path / 'store'}"
    workers = [FORKSERVER.Process(target=work, args=(rank, store, answers)) for rank in (0, 1)]
    try:
        for worker in workers:
            worker.start()
        lowest = 1e-5 * 1e4 ** (1 / 10)  # the first worker's, at the second of ten updates
        assert [answers.get(timeout=60) for _ in workers] == [(6, lowest)] * 2
    finally:
        for worker in workers:
            worker.kill()
