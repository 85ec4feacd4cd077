"""The table of batch schedules on run folders made by hand, and the lists that it is made for."""

import importlib.util
import json
import math
import subprocess
import sys

import pytest
from fairseq import tasks

from fairseq_bas.tool.run_log import Progress, RunLog, ValidPoint
from tests.in_process import parts_of
from tests.processes import ROOT

BENCH = ROOT / "scripts/bench"
SCRIPT = BENCH / "batch_table.py"
LISTS = ("translation", "adascale", "lm")


@pytest.fixture(scope="module")
def module():
    sys.path.insert(0, str(BENCH))
    spec = importlib.util.spec_from_file_location("batch_table", SCRIPT)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["batch_table"] = loaded  # where its dataclass looks itself up
    spec.loader.exec_module(loaded)
    yield loaded
    sys.path.remove(str(BENCH))
    del sys.modules["batch_table"]


def record(tag, **values):
    """Return a line as fairseq logs it: all numbers as text, prefixed but in ``train_inner``."""
    prefix = {"train_inner": "", "train": "train_", "valid": "valid_"}[tag]
    named = {prefix + key: str(value) for key, value in values.items()}
    return f"2026 | INFO | {tag} | {json.dumps({'epoch': values.pop('epoch', 1), **named})}\n"


def make_run(folder, losses, *, updates, tokens, seconds, mark="done", cpu=""):
    """Write a run that validates at the end of every epoch.

    Args:
        folder: to make.
        losses: validation loss of each epoch.
        updates: of an epoch.
        tokens: distinct target tokens an update.
        seconds: of an epoch.
        mark: file that says how it ended.
        cpu: processor seconds as bash writes them.
    """
    folder.mkdir(parents=True)
    lines = []
    for index, loss in enumerate(losses):
        end = updates * (index + 1)
        inner = {"wpb": 2 * tokens, "train_wall": 0, "lr": 0.5 / (index + 1)}  # as rounded
        lines.append(record("train_inner", num_updates=end - 1, **inner))
        lines.append(record("valid", num_updates=end, loss=loss))
        epoch = {"num_updates": end, "wpb": tokens, "train_wall": seconds, "lr": 0}
        lines.append(record("train", **epoch))
    lines = [line.replace('"epoch": 1', f'"epoch": {i // 3 + 1}') for i, line in enumerate(lines)]
    (folder / "train.log").write_text("".join(lines), encoding="utf-8")
    (folder / "cpu").write_text(cpu, encoding="utf-8")
    if mark:
        (folder / mark).touch()


@pytest.fixture
def grid(tmp_path):
    """``small`` gets down to 6; ``large`` needs three times the text; others never get there."""
    runs = tmp_path / "runs"
    small = {"updates": 100, "tokens": 400, "seconds": 60}
    make_run(runs / "small-seed1", [9, 7, 6, 6.5], **small, cpu="100 20\n50 10\n")
    large = {"updates": 25, "tokens": 1600, "seconds": 40}
    make_run(runs / "large-seed1", [9, 8.5, 8, 8, 8, 8, 8, 8, 6.5, 5.5], **large)
    make_run(runs / "linear-seed1", [30, "inf", "nan"], **large, mark="diverged")
    make_run(runs / "on-seed1", [8, 6.25], **small, mark="")
    (tmp_path / "list").write_text(
        "base = --max-epoch 4 # @base\n\nsmall @base\nlarge @base --bas-batch-schedule 4x\n"
        "linear @base\non @base\nabsent @base\n"
    )
    return tmp_path


def run_script(grid, *args):
    flags = ["--runs", grid / "runs", "--systems", grid / "list", *args]
    command = [sys.executable, str(SCRIPT), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def table(result):
    """Return system -> cells."""
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    head, rule, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    assert rule == ["---"] * len(head)
    return {row[0]: row[1:] for row in rows}


def test_what_each_system_needed(grid):
    result = run_script(grid)
    rows = table(result)
    assert "loss to reach 6.000, the lowest of small:" in result.stdout
    assert list(rows) == ["small", "large", "linear", "on", "absent"]
    # At its best: the end of the third epoch, 300 updates of 400 tokens, 3 minutes.
    reached = ["300 (1.00x)", "120 (1.00x)", "3.00 (1.00x)"]
    assert rows["small"] == ["6.000", *reached, "400", "800", "0.12", "3.0", ""]
    # Half way between epochs 9 and 10: 9.5 epochs of 25 updates, of 40 thousand tokens, of 40 s.
    reached = ["238 (0.79x)", "380 (3.17x)", "6.33 (2.11x)"]
    assert rows["large"] == ["5.500", *reached, "250", "3200", "0.05", "-", ""]
    assert rows["linear"] == ["30.000", "-", "-", "-", "75", "3200", "0.17", "-", "diverged"]
    assert rows["on"][:4] == ["6.250", "-", "-", "-"]
    assert rows["on"][-1] == rows["absent"][-1] == "not finished"
    assert set(rows["absent"][:-1]) == {"-"}


def test_another_loss_to_reach(grid):
    result = run_script(grid, "--loss", 8)
    rows = table(result)
    assert "loss to reach 8.000:" in result.stdout
    # small: half way from 9 to 7, 1.5 epochs; on: at its first validation.
    assert rows["small"][1:4] == ["150 (1.00x)", "60 (1.00x)", "1.50 (1.00x)"]
    assert rows["on"][1:4] == ["100 (0.67x)", "40 (0.67x)", "1.00 (0.67x)"]
    assert rows["large"][1] == "75 (0.50x)"
    # Nothing to compare with: no ratios.
    assert table(run_script(grid, "--loss", 5.75))["large"][1] == "244"


def test_every_seed_has_its_table(grid):
    result = run_script(grid, "--seeds", "1 2")
    assert result.stdout.count("| small | ") == 2
    assert "Seed 2, loss to reach nan" in result.stdout  # nothing there yet


def test_reach_is_linear_between_validations(module):
    valid = tuple(ValidPoint(u, loss, loss, 2**loss) for u, loss in ((40, 8.0), (80, 6.0)))
    # In the middle of the second epoch a log line whose seconds are rounded to 0.
    points = ((0, 0, 0), (40, 4e3, 20), (60, 9e3, 20), (80, 1e4, 60))
    log = RunLog(valid, tuple(Progress(u, t, t, s) for u, t, s in points), 1)
    middle = module.reach(log, 7.5)
    assert (middle.updates, middle.tokens, middle.seconds) == (50, 5500, 30)
    assert module.reach(log, 8.5).seconds == 20
    assert module.reach(log, 5.9) is None


def test_numbers_at_the_end(module):
    lines = [
        'D | INFO | train_inner | {"wpb": "100", "lr": "0.5"}',
        'D | INFO | train_inner | {"wpb": "800", "lr": "0.25"}',
        'D | INFO | train | {"train_wpb": "300", "train_lr": "0"}',
        'D | INFO | train_inner | {"wpb": "90',
    ]
    assert module.last_training(lines) == {"wpb": 800, "lr": 0.25}
    assert module.last_training(lines[2:]) == {"wpb": 300, "lr": 0}
    assert module.last_training([]) == {}
    assert math.isnan(module.cpu_minutes("\n"))


EXPAND = """
source "$1/scripts/lib.sh"
source "$1/scripts/bench/lib_grid.sh"
systems="$2"
read_systems
for name in "${names[@]}"; do printf '%s %s\\n' "$name" "${flags_of[$name]}"; done
"""


def expanded(path):
    """Return a list as ``lib_grid.sh`` reads it: a system a line, with what @NAME stands for."""
    command = ["bash", "-c", EXPAND, "-", str(ROOT), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_names_for_flags(tmp_path):
    (tmp_path / "list").write_text(
        "a = --x 1  # @a\nab = @a --y @spm@\nplain\n one @ab --z\ntwo --w=@a @a @ab\n"
    )
    assert expanded(tmp_path / "list") == [
        "plain ",
        "one --x 1 --y @spm@ --z",
        "two --w=@a --x 1 --x 1 --y @spm@",
    ]


@pytest.mark.parametrize("name", LISTS)
def test_training_accepts_every_listed_system(name, toy, toy_lm):
    systems = expanded(BENCH / f"batch_systems_{name}.txt")
    data, task = (toy_lm, "language_modeling") if name == "lm" else (toy, "translation")
    found = []
    for system in systems:
        parts = parts_of([data.bin, "--task", f"bas_{task}", *system.split()[1:]])
        planner = tasks.setup_task(parts.task).large_batch.planner
        found.append((parts.task.lr_scheduler, planner.controller.name))
    used = {part for parts in found for part in parts}
    wanted = {"bas_legw", "adabatch", "smith", "noise-scale"}
    assert (wanted if name != "adascale" else {"bas_adascale", "bas_scaled"}) <= used
