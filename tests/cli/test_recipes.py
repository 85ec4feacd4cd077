"""The recipes as people call them: options, stages, and what an interruption leaves."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import ROOT

TRANSLATION = ["own_corpus.sh", "iwslt14_de_en.sh", "wmt14_en_de.sh", "wmt16_en_de.sh"]
LANGUAGE = [
    "train_ptb_awd_lstm.sh",
    "train_ptb_zoneout.sh",
    "train_wikitext2_awd_lstm.sh",
    "own_text.sh",
]
ENV = {
    **os.environ,
    **{"BAS_PYTHON": sys.executable, "BAS_SKIP_SETUP": "1", "OMP_NUM_THREADS": "1"},
}


def command(script: str | Path, *args: object) -> list[str]:
    return ["bash", str(ROOT / "scripts" / script), *map(str, args)]


def run(script: str | Path, *args: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(script, *args), capture_output=True, text=True, env=ENV, timeout=600
    )


def start(*args: object, **env: str) -> subprocess.Popen:
    """Start a script in a process group of its own."""
    return subprocess.Popen(
        command(*args),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**ENV, **env},
        start_new_session=True,
    )


def wait_for(condition: object, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def require_one_line(result: subprocess.CompletedProcess, says: str) -> None:
    assert result.returncode == 1, result.stdout + result.stderr
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", TRANSLATION + LANGUAGE)
def test_help_says_what_it_takes_and_every_option(script: str) -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)]).returncode == 0
    result = run(script, "--help")
    assert result.returncode == 0
    for word in ("Goal", "Hardware:", "Time", "--stage", "--budget small", "--machines", "--seed"):
        assert word in result.stdout
    text = (ROOT / "scripts" / script).read_text(encoding="utf-8")
    own = re.findall(r'read_options "\$TRANSLATION_OPTIONS ([^"]*)"', text)
    for option in "".join(own).replace("\\\n", "").split():
        assert f"--{option}" in result.stdout


@pytest.mark.parametrize(
    ("script", "args", "says"),
    [
        *((script, ["--speed", "1"], "unknown option --speed") for script in TRANSLATION),
        ("wmt14_en_de.sh", ["--size", "huge"], "--size huge --batch small has no published"),
        ("wmt16_en_de.sh", ["--size", "base", "--batch", "large"], "has no published settings"),
        ("iwslt14_de_en.sh", ["--recipe", "magic"], "--recipe magic is not one of: baseline"),
        ("iwslt14_de_en.sh", ["--recipe", "growth", "--replicas", "2"], "leave --replicas out"),
        ("iwslt14_de_en.sh", ["--budget", "tiny"], "--budget tiny is not known"),
        ("own_corpus.sh", [], "--train PREFIX, --src and --tgt, or --text is needed"),
        ("own_corpus.sh", ["--src", "/none"], "--src /none is missing or empty"),
        ("own_corpus.sh", ["--text", "/none"], "/none is missing or empty"),
        ("train_ptb_zoneout.sh", ["--recipe", "magic"], "--recipe magic is not one of: baseline"),
    ],
)
def test_wrong_options_are_one_line(
    script: str, args: list[str], says: str, tmp_path: Path
) -> None:
    require_one_line(run(script, "--out", tmp_path / "out", *args), says)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", ["wmt16_en_de.sh", "train_ptb_zoneout.sh"])
def test_a_stage_that_is_asked_for_too_early_is_refused(script: str, tmp_path: Path) -> None:
    args = ["--out", tmp_path, "--budget", "small", "--stage"]
    require_one_line(run(script, *args, "score"), "the stage get is not done, which --stage score")
    require_one_line(run(script, *args, "train,fly"), "--stage fly is not one of: get ")


# -- the stages themselves, without fairseq -----------------------------------------------------

FAKE = """
source "{root}/scripts/lib_stages.sh"
size=3
read_options "$RECIPE_OPTIONS size" "$@"
make_text() {{ mkdir -p "$2"; echo "made text" >>"$out/told"; seq "$1" >"$2/text"; sleep "$nap"; }}
make_run() {{
    echo "made run" >>"$out/told"
    for step in 1 2 3; do
        [ -e "$2/$step" ] || {{ echo "step $step" >>"$out/told"; touch "$2/$step"; sleep "$nap"; }}
    done
}}
make_sum() {{ echo "made sum" >>"$out/told"; wc -l <"$1/text" >"$2"; }}
nap="${{NAP:-0}}"
choose_stages get train score
lock_out "$out"
stage folder get "$out/text" "size $size" make_text "$size"
stage place train "$out/run" "" make_run "$out/text"
stage file score "$out/sum" "" make_sum "$out/text"
"""


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    script = tmp_path / "fake.sh"
    script.write_text(FAKE.format(root=ROOT), encoding="utf-8")
    return script


def told(out: Path) -> list[str]:
    return (out / "told").read_text(encoding="utf-8").splitlines()


def test_what_is_done_is_skipped_and_other_options_are_refused(fake: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps = ["step 1", "step 2", "step 3"]
    assert run(fake, "--out", out, "--stage", "get").returncode == 0
    assert told(out) == ["made text"]
    assert run(fake, "--out", out, "--stage", "train,score").returncode == 0
    assert told(out) == ["made text", "made run", *steps, "made sum"]
    result = run(fake, "--out", out)
    assert result.returncode == 0 and result.stdout.count("done already") == 3
    require_one_line(run(fake, "--out", out, "--size", 4), f"{out}/text was made with other")
    (out / "sum").rename(out / "kept")
    (out / "sum.made").unlink()
    assert run(fake, "--out", out, "--stage", "score").returncode == 0
    assert told(out)[-1] == "made sum" and (out / "sum").read_text() == (out / "kept").read_text()
    # The text made anew from other options does not pass for the one that the run was made from.
    subprocess.run(["rm", "-r", str(out / "text")], check=True)
    require_one_line(run(fake, "--out", out, "--size", 4), f"{out}/run was made with other options")


def test_what_the_user_has_is_not_replaced(fake: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "text").mkdir(parents=True)
    (out / "text/thesis.tex").write_text("precious")
    require_one_line(run(fake, "--out", out), f"{out}/text was not made by this script")
    assert (out / "text/thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("where", ["text.part/text", "run/2"])
def test_a_killed_stage_is_made_at_the_next_call(where: str, fake: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(fake, "--out", out, NAP="0.5" if where.startswith("run") else "60")
    wait_for((out / where).exists, process)
    require_one_line(run(fake, "--out", out), "another call is at work")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert run(fake, "--out", out).returncode == 0
    lines = told(out)
    assert (out / "sum").read_text().strip() == "3"
    assert [lines.count(f"step {step}") for step in (1, 2, 3)] == [1, 1, 1]
    assert lines.count("made text") == (2 if where.startswith("text") else 1)
    assert not (out / "text.part").exists()


def test_other_machines_only_train(fake: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = ["--out", out, "--rank-of-machine", 1]
    require_one_line(run(fake, *other), "the stage get is not done")
    assert run(fake, "--out", out, "--stage", "get").returncode == 0
    assert run(fake, *other).returncode == 0
    assert told(out) == ["made text", "made run", "step 1", "step 2", "step 3"]
    assert not (out / "run/.made").exists()


@pytest.mark.slow
def test_own_corpus_killed_in_training_goes_on_to_a_score(tmp_path: Path) -> None:
    toy, out = tmp_path / "toy", tmp_path / "out"
    make = [sys.executable, str(ROOT / "data/make_toy.py"), "--out", str(toy), "--train", "200"]
    subprocess.run(make, check=True, capture_output=True)
    args = ["own_corpus.sh", "--budget", "small", "--src", toy / "train.src"]
    args += ["--tgt", toy / "train.tgt", "--out", out, "--updates", 200, "--recipe", "baseline"]
    run_folder = out / "small/runs/baseline-seed1"
    process = start(*args)
    wait_for(lambda: list(run_folder.glob("checkpoint_*_21.pt")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run_folder / ".made").exists()
    result = run(*args)
    assert result.returncode == 0, result.stderr
    for stage in ("get", "clean", "subword", "binarise"):
        assert f"{stage}: done already" in result.stdout
    updates = [int(u) for u in re.findall(r"update +(\d+) of 200", result.stdout)]
    assert updates == [*range(updates[0], 200, 7), 200] and 21 <= updates[0] < 200
    (averaged,) = re.findall(r"the average of (.*)", result.stdout)
    assert len(averaged.split(", ")) == 3 and averaged.endswith("checkpoint_last.pt")
    assert re.search(r"own text, baseline +\d", result.stdout)
    assert "nrefs:1" in (run_folder / "test.score").read_text(encoding="utf-8")
    corpus = out / "small/corpus"
    sides = [(corpus / f"{split}.src").read_text().splitlines() for split in ("train", "test")]
    assert len(sides[1]) == 10 and not set(sides[0]) & set(sides[1])
