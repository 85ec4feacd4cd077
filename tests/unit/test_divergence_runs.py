"""Runs that diverge: what is noticed, what is written down, and where they go on."""

import json
import logging
import os
import pickle
import shutil

import pytest
import torch
from fairseq import options
from fairseq.dataclass.configs import CheckpointConfig
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq_cli import train

from fairseq_bas.errors import UserError
from fairseq_bas.resilience.divergence_flags import check_checkpoints, check_flags
from fairseq_bas.resilience.restarted_run import RestartedMain, RolledBack
from fairseq_bas.resilience.rollback import newest_good
from fairseq_bas.resilience.told_once import REFUSED
from fairseq_bas.task.bas_translation import BasTranslationTask
from fairseq_bas.task.divergence_config import DivergenceConfig
from tests.in_process import train_here
from tests.resume_runs import assert_bit_equal, last_checkpoint
from tests.toys import tiny_awd_lstm_lm, tiny_transformer

GUARD = "fairseq_bas.resilience.divergence_guard"
STATE = ("model", "last_optimizer_state")
# An epoch has three updates. The second one is at 2^13 times the learning rate of the first.
EXPLODES = ("--lr", "0.003,24.576")
TO_THE_FIRST_LR = ("--bas-on-divergence", "rollback", "--bas-rollback-lr-factor", 2**-13)
BREAKS = ("--lr", "0.003,1e30")
ABSA = "absa:every=3u,max=4x,patience=3,drop=1.2,sentences=12,until=1"


def flags(toy, save_dir, *more):
    tiny = tiny_transformer(toy, save_dir, task="bas_translation")
    return [*tiny, "--disable-validation", "--bas-replicas", 2, *more]


def command(given):
    """Run ``fairseq-train`` as its command does, all but the parsing in a process of its own."""
    parser = options.get_training_parser()
    arguments = options.parse_args_and_arch(parser, [str(flag) for flag in given])
    distributed_utils.call_main(convert_namespace_to_omegaconf(arguments), train.main)


def report(save_dir, name):
    return json.loads((save_dir / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def healthy(toy, tmp_path_factory):
    """A run of three epochs at the first learning rate, which never rolls back."""
    save_dir = tmp_path_factory.mktemp("healthy")
    train_here(flags(toy, save_dir, "--max-epoch", 3))
    return save_dir


def test_an_explosion_is_warned_of_once(toy, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, GUARD):
        log = train_here(flags(toy, tmp_path, "--max-epoch", 3, *EXPLODES))
    assert len(log) == 9
    messages = [r.getMessage() for r in caplog.records if r.name == GUARD]
    assert len(messages) == 1
    assert messages[0].startswith("update 5: its loss explodes")
    assert [path.name for path in tmp_path.glob("*.json")] == ["divergence-5.json"]


def test_stop_leaves_a_report_of_what_was_read(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error"))
    stop = ("--bas-on-divergence", "stop", "--max-epoch", 3)
    with pytest.raises(UserError, match=r"update 5: its loss explodes.*lower --lr"):
        command(flags(toy, tmp_path, *EXPLODES, *stop))
    # So a launcher with --restarts does not start it again, to diverge again.
    assert report(tmp_path, "error")[REFUSED] is True
    assert last_checkpoint(tmp_path)["optimizer_history"][-1]["num_updates"] == 3
    found = report(tmp_path, "divergence-5.json")
    assert found["epoch"] == 2
    updates = {entry["update"]: entry for entry in found["updates"]}
    assert list(updates) == [5, 4, 3, 2, 1]
    batches = {number: entry["workers"][0] for number, entry in updates.items()}
    # The first epoch is each sentence once; with two copies there are two rows of each.
    ids = [i for number in (1, 2, 3) for batch in batches[number] for i in batch["ids"]]
    assert sorted(ids) == list(range(60))
    german = (toy.text / "train.de").read_text(encoding="utf-8").splitlines()
    english = (toy.text / "train.en").read_text(encoding="utf-8").splitlines()
    for batch in (batch for number in batches for batch in batches[number]):
        assert batch["target_tokens"] == sum(len(german[i].split()) + 1 for i in batch["ids"])
        assert batch["rows"] == 2 * len(batch["ids"])
        assert batch["replicas"] == 2
    for i, text in found["sentences"].items():
        assert text == {"source": english[int(i)], "target": german[int(i)]}
    assert {int(i) for i in found["sentences"]} <= set(batches[5][0]["ids"])
    assert updates[5]["loss"] == pytest.approx(batches[5][0]["loss"])
    assert updates[5]["loss"] > 100 > updates[4]["loss"]
    assert updates[5]["learning_rate"] == 24.576


def test_a_healthy_run_does_not_depend_on_the_setting(toy, tmp_path, healthy):
    train_here(flags(toy, tmp_path, "--max-epoch", 3, "--bas-on-divergence", "rollback"))
    assert_bit_equal(last_checkpoint(tmp_path), last_checkpoint(healthy), *STATE)


def test_a_run_rolled_back_is_one_with_the_lower_rate_from_there(toy, tmp_path, healthy):
    given = flags(toy, tmp_path, *EXPLODES, *TO_THE_FIRST_LR)
    command([*given, "--max-epoch", 2, "--log-file", tmp_path / "log"])
    assert report(tmp_path, "divergence-5.json")["update"] == 5
    assert (tmp_path / "log").read_text(encoding="utf-8").count("done training") == 1
    train_here([*given, "--max-epoch", 3])  # the factor is in the checkpoint
    ours, theirs = last_checkpoint(tmp_path), last_checkpoint(healthy)
    assert_bit_equal(ours, theirs, *STATE)
    assert ours["extra_state"]["train_iterator"]["bas_companions"]["divergence"]["targets"] == [3]


def test_gradients_that_stay_broken_stop_the_run_in_the_end(toy, tmp_path):
    rollback = ("--bas-on-divergence", "rollback", "--bas-rollbacks", 1)
    given = flags(toy, tmp_path, "--max-epoch", 3, *BREAKS, *rollback)
    # Where nothing begins the run again, the same command does.
    going_back = "update 5: its gradient is not finite.*of update 3, learning rate times 0.5"
    with pytest.raises(RolledBack, match=going_back):
        train_here(given)
    with pytest.raises(UserError, match=r"update 5: its gradient.* rolled back 1 times before"):
        train_here(given)
    found = report(tmp_path, "divergence-5-2.json")
    assert (found["rolled_back_to"], found["learning_rate_factor"]) == ([3], 0.5)
    assert found["updates"][0]["gradient_norm"] == "nan"
    assert len(found["updates"][0]["workers"][0]) == 1  # not again by the search for the module
    assert last_checkpoint(tmp_path)["optimizer_history"][-1]["num_updates"] == 3


def test_without_a_checkpoint_a_run_over_streams_stops(toy_lm, tmp_path):
    rollback = ("--bas-on-divergence", "rollback", "--lr", "1e30", "--max-epoch", 1)
    match = "update 2: its loss explodes.*holds no checkpoint from before that to go back to"
    with pytest.raises(UserError, match=match):
        train_here([*tiny_awd_lstm_lm(toy_lm, tmp_path), *rollback])
    batch = report(tmp_path, "divergence-2.json")["updates"][0]["workers"][0][0]
    assert (batch["ids"], batch["window"]) == ([0, 1, 2, 3, 4], 1)


def save(path, updates, targets):
    """Write what a checkpoint holds that matters to a rollback."""
    companions = {"divergence": {"targets": targets}}
    torch.save(
        {
            "optimizer_history": [{"num_updates": updates}],
            "last_optimizer_state": {},
            "extra_state": {"train_iterator": {"bas_companions": companions}},
        },
        path,
    )


def test_only_whole_checkpoints_of_the_present_course_are_gone_back_to(tmp_path):
    for order, (name, updates, targets) in enumerate(
        [
            ("checkpoint_1_20.pt", 20, []),
            ("checkpoint_best.pt", 35, []),  # then back to 20, so it is of a course given up
            ("checkpoint_1_30.pt", 30, [20]),
            ("checkpoint_1_40.pt", 40, [20]),
            ("checkpoint_1_50.pt", 50, [20]),
        ]
    ):
        save(tmp_path / name, updates, targets)

        os.utime(tmp_path / name, (order, order))
    shutil.copy(tmp_path / "checkpoint_1_40.pt", tmp_path / "whole")
    (tmp_path / "checkpoint_1_40.pt").write_bytes((tmp_path / "whole").read_bytes()[:-100])
    assert newest_good(tmp_path, 60, [20]) == (tmp_path / "checkpoint_1_50.pt", 50)
    assert newest_good(tmp_path, 49, [20]) == (tmp_path / "checkpoint_1_30.pt", 30)
    assert newest_good(tmp_path, 60, [20, 20]) == (tmp_path / "checkpoint_1_20.pt", 20)
    assert newest_good(tmp_path, 19, [20]) is None


def test_the_restart_can_be_sent_to_the_processes_that_fairseq_starts():
    assert pickle.loads(pickle.dumps(RestartedMain(train.main))).main is train.main


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bas_rollbacks": 2}, "has no meaning"),
        ({"bas_on_divergence": "rollback", "bas_rollback_lr_factor": 0.0}, "out of range"),
        ({"bas_on_divergence": "rollback", "bas_rollbacks": 0}, "leaves nothing"),
    ],
)
def test_flags_without_meaning_are_refused(given, words):
    with pytest.raises(ValueError, match=words):
        check_flags(DivergenceConfig(**given))


def test_rollback_is_refused_where_nothing_whole_is_saved():
    with pytest.raises(ValueError, match="--no-save leaves --bas-on-divergence rollback"):
        check_checkpoints(CheckpointConfig(no_save=True), "")
    with pytest.raises(ValueError, match=r"in parts \(-shard0\)"):
        check_checkpoints(CheckpointConfig(), "-shard0")


def judged(save_dir):
    """Return how many losses the averages of a run are of, at its last checkpoint."""
    position = last_checkpoint(save_dir)["extra_state"]["train_iterator"]
    return position["bas_companions"]["divergence"]["monitor"]["count"]


def test_averages_begin_anew_where_the_number_of_copies_changes(toy, tmp_path):
    train_here(flags(toy, tmp_path, "--bas-replicas", "1,3@4u", "--max-update", 9))
    assert judged(tmp_path) == 9 - 4


def test_averages_begin_anew_where_the_share_of_hard_copies_changes(toy, tmp_path, monkeypatch):
    """ABSA plans fewer adversarial copies as the batch grows."""
    absa = ("--bas-batch-schedule", ABSA, "--bas-adversarial", "fgsm", "--bas-replicas", 2)
    plain = ("--lr-scheduler", "bas_scaled", "--bas-base-schedule", "fixed", "--max-tokens", 40)
    shares, observe = [], BasTranslationTask.reduce_metrics

    def noted(task, *args):
        shares.append(task.adversarial_share())
        observe(task, *args)

    monkeypatch.setattr(BasTranslationTask, "reduce_metrics", noted)
    train_here(flags(toy, tmp_path, *absa, *plain, "--max-epoch", 9, "--max-update", 12))
    alike = len(shares) - shares.index(shares[-1])
    assert len(shares) == 12 and 1 <= alike < 12
    assert judged(tmp_path) == alike


def test_the_search_for_a_learning_rate_does_not_count_as_an_explosion(toy, tmp_path):
    """With bas_autowu the rate grows until the loss does; only what comes after is judged."""
    search = ("--lr-scheduler", "bas_autowu", "--lr", 30, "--bas-autowu-min-lr", 0.003)
    stop = ("--bas-on-divergence", "stop", "--max-update", 24)
    log = train_here(flags(toy, tmp_path, *search, *stop))
    losses, rates = ([entry[key] for entry in log] for key in ("loss", "lr"))
    ended = rates.index(max(rates))
    assert max(losses[: ended + 2]) > 5 * losses[0]
    assert judged(tmp_path) == len(log) - (ended + 2)
