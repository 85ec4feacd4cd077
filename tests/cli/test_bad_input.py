"""Law 7: bad input ends in one sentence, exit code 1, before the first update, no traceback."""

import shutil

import pytest

from tests.processes import json_log, run_cli, run_workers
from tests.toys import tiny_transformer


def refusal(result):
    """Return the sentence that a refused run ended with."""
    assert result.returncode == 1, result.stderr[-2000:]
    assert "Traceback" not in result.stderr
    assert not json_log(result, "train_inner")
    return result.stderr.splitlines()[-1]


def train(toy, save_dir, *extra, **kwargs):
    flags = tiny_transformer(toy, save_dir, task="bas_translation")
    return run_cli("fairseq_cli.train", *flags, *extra, check=False, **kwargs)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--bas-replicas", "0"),
            "--bas-replicas 0: '0' is not a whole number of at least 1; "
            "write a value or a schedule, as in 1@0,4@2e",
        ),
        (
            ("--bas-replicas", "two"),
            "--bas-replicas two: 'two' is not a whole number of at least 1; "
            "write a value or a schedule, as in 1@0,4@2e",
        ),
        (
            ("--bas-replicas", "1@0,4@later"),
            "--bas-replicas 1@0,4@later: the clock 'later' is not a whole number; "
            "write a number and a unit, as in 1@0,4@2e",
        ),
        (
            ("--bas-replicas", "4", "--bas-replicas-per-pass", "3"),
            "--bas-replicas-per-pass 3 does not divide the 4 copies that --bas-replicas 4 gives "
            "each worker; choose a divisor of 4",
        ),
        (
            ("--bas-replicas", "4", "--bas-placement", "workers"),
            "--bas-placement workers with --bas-replicas 4 does not fit 1 worker: a number of at "
            "least 2 must divide both the workers and every M; change M, start that many workers, "
            "or pass --bas-placement passes",
        ),
        (
            ("--bas-replicas", "4", "--bas-replica-workers", "2"),
            "--bas-replica-workers 2 has no meaning with --bas-placement rows; pass "
            "--bas-placement workers too",
        ),
        (
            ("--criterion", "bas_cross_entropy", "--bas-chunk-tokens", "0"),
            "--bas-chunk-tokens 0 holds no token; pass 1 or more, or none",
        ),
    ],
)
def test_flags(toy, tmp_path, flags, sentence):
    assert refusal(train(toy, tmp_path, *flags)) == sentence


def test_workers_that_do_not_fit_three_copies(toy, tmp_path):
    flags = tiny_transformer(toy, tmp_path, task="bas_translation")
    copies = ("--bas-replicas", 3, "--bas-placement", "workers")
    results = run_workers(2, "fairseq_cli.train", *flags, *copies, check=False)
    # One that fails after the other has told ends quietly.
    assert any("does not fit 2 workers" in refusal(result) for result in results)


def damage(folder, name, keep):
    """Cut a file to ``keep`` of its bytes; delete it at 0."""
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if keep:
        path.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize(
    ("name", "keep", "words"),
    [
        ("dict.de.txt", 0, ("dict.de.txt", "fairseq-preprocess")),
        ("train.en-de.de.bin", 0.5, ("train.en-de.de.bin", "bytes", "fairseq-preprocess")),
        ("train.en-de.en.idx", 0.5, ("train.en-de.en.idx", "bytes", "fairseq-preprocess")),
        ("valid.en-de.en.bin", 0.9, ("valid.en-de.en.bin", "bytes", "fairseq-preprocess")),
    ],
)
def test_damaged_data(toy, tmp_path, name, keep, words):
    copy = shutil.copytree(toy.bin, tmp_path / "bin")
    damage(copy, name, keep)
    sentence = refusal(train(type(toy)(text=toy.text, bin=copy), tmp_path / "ck"))
    assert all(word in sentence for word in words), sentence


def test_empty_split(toy, tmp_path):
    text = shutil.copytree(toy.text, tmp_path / "text")
    for side in ("en", "de"):
        (text / f"valid.{side}").write_text("")
    prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid")]
    dictionary = ("--srcdict", toy.bin / "dict.en.txt", "--joined-dictionary")
    languages = ("-s", "en", "-t", "de", "--destdir", tmp_path / "bin")
    run_cli("fairseq_cli.preprocess", *languages, *dictionary, *prefixes)
    empty = type(toy)(text=text, bin=tmp_path / "bin")
    sentence = refusal(train(empty, tmp_path / "ck"))
    assert "valid" in sentence and "no sentence" in sentence, sentence


MIDDLE = ("--save-interval-updates", 3, "--no-epoch-checkpoints", "--disable-validation")


@pytest.fixture(scope="module")
def stopped(toy, tmp_path_factory):
    """A run that stopped in the middle of its first epoch: 7 updates of 4 sentences each."""
    save_dir = tmp_path_factory.mktemp("stopped")
    flags = (*MIDDLE, "--batch-size", 4, "--max-update", 7, "--bas-replicas", 2)
    assert train(toy, save_dir, *flags).returncode == 0
    return save_dir


def test_resume_with_other_data_is_refused(toy, tmp_path, stopped):
    """In the middle of an epoch, with the test set in place of the training set."""
    copy = shutil.copytree(stopped, tmp_path / "ck")
    other = type(toy)(text=toy.text, bin=shutil.copytree(toy.bin, tmp_path / "bin"))
    for path in other.bin.glob("test.*"):
        shutil.copy(path, path.with_name(path.name.replace("test", "train")))
    sentence = refusal(train(other, copy, "--batch-size", 4, "--max-update", 9))
    assert sentence.startswith("the checkpoint stopped after 7 of 15 micro-batches of epoch 1")
    assert "go on with a number of training sentences of 60, or pass --reset-data" in sentence


def test_resume_with_other_batches_says_what_holds_from_where(toy, tmp_path, stopped):
    copy = shutil.copytree(stopped, tmp_path / "ck")
    flags = (*MIDDLE, "--batch-size", 6, "--bas-replicas", 2, "--max-update", 9)
    result = train(toy, copy, *flags)
    assert "--batch-size 6 in the rest of epoch 1 and from there on (it was 4 in" in result.stdout
    assert "32 sentences of epoch 1 were not read before the setup changed" in result.stdout
    assert {x["bsz"] for x in json_log(result, "train_inner")} <= {"6", "2"}  # 32 = 5 * 6 + 2
    anew = train(toy, copy, *flags, "--reset-dataloader", "--max-update", 11)
    assert [x["num_updates"] for x in json_log(anew, "train_inner")] == ["10", "11"]


def test_resume_with_another_number_of_copies_goes_on_and_says_so(toy, tmp_path, stopped):
    copy = shutil.copytree(stopped, tmp_path / "ck")
    flags = (*MIDDLE, "--batch-size", 4, "--bas-replicas", 3, "--max-update", 9)
    result = train(toy, copy, *flags)
    assert "--bas-replicas 3 from here on (it was 2 in the checkpoint)" in result.stdout
    assert [x["bas_replicas"] for x in json_log(result, "train_inner")] == ["3", "3"]


def test_truncated_checkpoint_names_the_newest_good_one(toy, tmp_path, stopped):
    copy = shutil.copytree(stopped, tmp_path / "ck")
    damage(copy, "checkpoint_last.pt", 0.6)
    named = ("--restore-file", copy / "checkpoint_last.pt")
    sentence = refusal(train(toy, copy, "--batch-size", 4, "--max-update", 9, *named))
    assert "checkpoint_last.pt" in sentence
    assert "checkpoint_1_6.pt" in sentence and "--restore-file" in sentence
