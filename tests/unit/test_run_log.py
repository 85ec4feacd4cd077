"""Reading of training logs against logs written by hand, with sums worked by hand."""

import dataclasses
import json
import math

import pytest

from fairseq_bas.tool.run_log import Progress, ValidPoint, parse_run_log, read_run_log
from tests.processes import run_cli
from tests.toys import tiny_transformer


def inner(updates, seconds, wpb=50, *, epoch=1, replicas=None):
    """Return a ``train_inner`` line as fairseq writes it: numbers are text."""
    values = {"epoch": epoch, "update": 0.5, "loss": "7.1", "wpb": str(wpb)}
    if replicas:
        values |= {"bas_replicas": str(replicas), "bas_wpb": str(replicas * wpb)}
    values |= {"num_updates": str(updates), "train_wall": str(seconds), "wall": "0"}
    return f"2026-01-01 10:00:00 | INFO | train_inner | {json.dumps(values)}"


def epoch_end(updates, seconds, epoch, wpb=50):
    values = {"epoch": epoch, "train_wpb": str(wpb), "train_num_updates": str(updates)}
    values |= {"train_train_wall": str(seconds), "train_wall": "0"}
    return f"2026-01-01 10:00:00 | INFO | train | {json.dumps(values)}"


def valid(updates, loss, epoch=1):
    values = {"epoch": epoch, "valid_loss": str(loss), "valid_nll_loss": str(loss - 1)}
    values |= {"valid_ppl": "9.5", "valid_num_updates": str(updates)}
    return f"2026-01-01 10:00:00 | INFO | valid | {json.dumps(values)}"


def loaded(updates, epoch):
    return (
        "2026-01-01 10:00:00 | INFO | fairseq.trainer | Loaded checkpoint ck/checkpoint_last.pt "
        f"(epoch {epoch} @ {updates} updates)"
    )


def losses(log):
    return [(point.updates, point.loss) for point in log.valid]


def test_a_whole_run_adds_up():
    log = parse_run_log(
        [
            "2026-01-01 10:00:00 | INFO | fairseq_cli.train | training on 1 devices (GPUs/TPUs)",
            inner(10, 20, wpb=50, replicas=4),
            valid(10, 8.5),
            inner(20, 30, wpb=70.5, replicas=4),
            valid(20, 8.0),
        ]
    )
    assert log.updates == 20
    assert log.replicas == 4
    assert log.total == Progress(20, 10 * 50 + 10 * 70.5, 4 * (10 * 50 + 10 * 70.5), 50)
    assert log.train_minutes == 50 / 60
    assert log.valid == (ValidPoint(10, 8.5, 7.5, 9.5), ValidPoint(20, 8.0, 7.0, 9.5))


def test_lines_as_fairseq_wrote_them():
    # The corpus has 370 target tokens in 3 batches; the second process resumed after epoch 1.
    written = """\
2026-11-21 07:17:40 | INFO | train | {"epoch": 1, "train_loss": "5.54", "train_wps": "4684.2", \
"train_bas_wps": "9390", "train_ups": "29.19", "train_wpb": "123.3", "train_bas_replicas": "2", \
"train_bas_wpb": "246.7", "train_bsz": "20", "train_num_updates": "3", "train_lr": "0.003", \
"train_gnorm": "1.571", "train_clip": "100", "train_train_wall": "1", "train_wall": "1"}
2026-11-21 07:17:45 | INFO | fairseq.trainer | Loaded checkpoint ck/checkpoint_last.pt \
(epoch 2 @ 3 updates)
2026-11-21 07:17:45 | INFO | valid | {"epoch": 2, "valid_loss": "4.063", "valid_nll_loss": \
"3.935", "valid_ppl": "15.3", "valid_wps": "0", "valid_wpb": "74", "valid_bsz": "12", \
"valid_num_updates": "4", "valid_best_loss": "4.063"}
2026-11-21 07:17:45 | INFO | train_inner | {"epoch": 2, "update": 6.667, "loss": "4.21", "wps": \
"5815.7", "bas_wps": "11631.4", "ups": "48.63", "wpb": "114", "bas_replicas": "2", "bas_wpb": \
"228", "bsz": "13.5", "num_updates": "5", "lr": "0.003", "clip": "0", "train_wall": "2", \
"wall": "0"}
"""
    log = parse_run_log(written.splitlines(keepends=True))
    assert log.valid == (ValidPoint(4, 4.063, 3.935, 15.3),)
    assert log.total.tokens == pytest.approx(370 + 2 * 114, abs=0.2)
    assert log.total.replicated_tokens == pytest.approx(2 * (370 + 2 * 114), abs=0.2)
    assert (log.updates, log.total.seconds, log.replicas) == (5, 3, 2)


def test_without_copies_both_counts_of_tokens_are_the_same():
    log = parse_run_log([inner(10, 20, wpb=50)])
    assert (log.replicas, log.total.tokens, log.total.replicated_tokens) == (1, 500, 500)


def test_an_epoch_line_gives_the_rest_after_the_last_interval():
    # Epoch 1 has 15 updates of 40 tokens, epoch 2 so far 9 of 60; its interval 11 to 20 has both.
    lines = [
        *(inner(10, 20, wpb=40), epoch_end(15, 31, epoch=1, wpb=40)),
        inner(20, 25, wpb=50, epoch=2),
    ]
    assert parse_run_log(lines).total == Progress(20, 10 * 40 + 10 * 50, 900, 20 + 25)
    lines.append(epoch_end(24, 22, epoch=2, wpb=60))
    assert parse_run_log(lines).total == Progress(24, 15 * 40 + 9 * 60, 1140, 31 + 22)


def test_what_a_resumed_run_repeats_replaces_what_was_lost():
    log = parse_run_log(
        [
            *(inner(10, 20), valid(10, 8.5), inner(20, 20), valid(20, 8.0)),
            *(inner(30, 99, wpb=99), valid(30, 7.0), valid(40, 6.0)),
            # Killed; the checkpoint was of update 25, with the meters of updates 21 to 25.
            loaded(25, epoch=1),
            *(inner(30, 24, wpb=60), valid(30, 7.5)),
        ]
    )
    assert losses(log) == [(10, 8.5), (20, 8.0), (30, 7.5)]
    assert log.updates == 30
    assert log.total == Progress(30, 10 * 50 + 10 * 50 + 10 * 60, 1600, 20 + 20 + 24)


def test_a_resumed_run_is_noticed_without_the_line_of_its_checkpoint():
    log = parse_run_log([valid(10, 8.5), valid(20, 8.0), valid(30, 7.0), valid(20, 8.1)])
    assert losses(log) == [(10, 8.5), (20, 8.1)]


def test_a_resumed_epoch_counts_once():
    # The first process stops at update 12, in epoch 2; the second ends this epoch at update 20.
    lines = [
        *(inner(10, 20), epoch_end(10, 20, epoch=1), epoch_end(12, 4, epoch=2)),
        *(loaded(12, epoch=2), inner(20, 18, epoch=2), epoch_end(20, 17, epoch=2)),
    ]
    assert parse_run_log(lines[:3]).total == Progress(12, 600, 600, 24)
    assert parse_run_log(lines).total == Progress(20, 1000, 1000, 37)


def test_meters_begin_anew_where_a_run_resumes_at_the_start_of_an_epoch():
    # 10 updates in 20 s, 5 in 11 s; the next line is of the 5 updates after the checkpoint.
    lines = [inner(10, 20), epoch_end(15, 31, epoch=1), loaded(15, epoch=2)]
    log = parse_run_log([*lines, inner(20, 9, wpb=70, epoch=2)])
    assert log.total == Progress(20, 15 * 50 + 5 * 70, 1100, 31 + 9)


def test_a_lost_epoch_line_is_made_up_for():
    # Epochs of 10 updates, the line of epoch 2 is lost. The 5 updates after the last known point
    # are half an epoch; without that point, the two epochs count as two of the one that is known.
    lines = [inner(10, 20), epoch_end(10, 20, epoch=1), epoch_end(30, 24, epoch=3, wpb=60)]
    assert parse_run_log(lines).total == Progress(30, 500 + 20 * 60, 1700, 20 + 2 * 24)
    lines.insert(2, inner(25, 33, epoch=3))
    assert parse_run_log(lines).total == Progress(30, 500 + 15 * 50 + 5 * 60, 1550, 53 + 12)


def test_broken_and_repeated_lines_are_passed_over(tmp_path):
    half = inner(20, 20)[:-15]
    lines = [inner(10, 20), inner(10, 20), valid(10, 8.5), valid(10, 8.5)]
    lines += [half, inner(15, 20)[:-30] + valid(15, 8.2), "| INFO | valid | {}"]
    lines += ['| INFO | valid | {"epoch": 1, "valid_loss": [1], "valid_num_updates": "16"}']
    lines += ['| INFO | train_inner | {"epoch": 1, "train_wall": "1", "num_updates": "inf"}']
    path = tmp_path / "train.log"
    path.write_bytes(("\n".join(lines) + "\n" + valid(20, 8.0)[:-9]).encode() + b"\xc3")
    log = read_run_log(str(path))
    assert losses(log) == [(10, 8.5), (15, 8.2)]
    assert log.total == Progress(10, 500, 500, 20)


def test_losses_that_are_not_numbers_are_kept_but_never_best():
    log = parse_run_log([valid(10, float("nan")), valid(20, 8.0), valid(30, float("inf"))])
    assert math.isnan(log.valid[0].loss)
    assert log.best.updates == 20
    assert log.updates_to_reach(9.0) == 20
    assert parse_run_log([valid(10, float("nan"))]).best is None


def test_losses_of_fairseqs_rdrop_are_those_of_one_copy(toy, tmp_path):
    """One set of weights, validated by two criteria of fairseq: one reports twice the other."""
    points = []
    for name, *flags in (("",), ("_with_rdrop", "--rdrop-alpha", 5)):
        criterion = ("--criterion", f"label_smoothed_cross_entropy{name}")
        result = run_cli(
            "fairseq_cli.train",
            *tiny_transformer(toy, tmp_path / f"run{name}"),
            *(*criterion, *flags, "--lr", 1e-30, "--max-update", 2, "--no-save"),
        )
        [point] = parse_run_log(result.stdout.splitlines()).valid
        points.append(point)
    assert dataclasses.astuple(points[1]) == pytest.approx(dataclasses.astuple(points[0]), rel=1e-3)


def test_the_first_of_equal_losses_is_best():
    assert parse_run_log([valid(10, 8.0), valid(20, 8.0)]).best.updates == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line of training or validation"),
        ("epoch 001 | loss 7.1 | wpb 50\n", "--log-format json"),
        (valid(500, 5.0, epoch=3), "begins in epoch 3"),
    ],
)
def test_unusable_logs_are_refused(tmp_path, text, message):
    path = tmp_path / "train.log"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as refusal:
        read_run_log(str(path))
    assert str(path) in str(refusal.value)


def test_missing_log_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_run_log(str(tmp_path / "train.log"))


def test_progress_between_lines_and_beyond():
    log = parse_run_log([inner(10, 20, wpb=50), inner(20, 40, wpb=100), valid(25, 7.0)])
    assert log.at(10) == Progress(10, 500, 500, 20)
    assert log.at(13) == Progress(13, 500 + 300, 800, 20 + 12)
    assert math.isnan(log.at(25).seconds)
    assert log.updates == 25


def test_until_cuts_everything():
    log = parse_run_log([inner(10, 20), valid(12, 8.0), inner(20, 40), valid(20, 7.0)])
    cut = log.until(15)
    assert losses(cut) == [(12, 8.0)]
    assert cut.total == Progress(15, 750, 750, 40)
    assert cut.updates == 15
    assert log.until(100) == log


def test_updates_to_reach_takes_the_first_crossing():
    log = parse_run_log([valid(10, 9.0), valid(20, 7.0), valid(30, 8.0), valid(40, 6.0)])
    assert log.updates_to_reach(7.5) == 17.5
    assert log.updates_to_reach(7.0) == 20
    assert log.updates_to_reach(6.5) == 37.5
    assert log.updates_to_reach(5.9) is None
