"""The judgements of ``fairseq-bas check`` on cases made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from fairseq_bas.data.corpus_files import find_corpora
from fairseq_bas.data.corpus_scan import SideCounts, SplitCounts
from fairseq_bas.tool.check_data_rules import corpus_findings, dictionary_findings, overlap_of
from fairseq_bas.tool.check_environment import device_findings
from fairseq_bas.tool.check_findings import Section, problem
from fairseq_bas.tool.check_run_rules import repeated_flags, worker_findings
from fairseq_bas.tool.check_space import folder_problem, kept_checkpoints, nearest_folder
from fairseq_bas.tool.check_versions import LIBRARIES, version_findings

GOOD = {
    "python": "3.11.7",
    **dict.fromkeys(LIBRARIES, "9.9"),
    "torch": "2.13.0+cpu",
    "numpy": "1.26.4",
    "hydra-core": "1.3.2",
}
BUILD = {"ve-fairseq": "0.12.3"}


def judged(findings):
    return [(finding.level, finding.sentence) for finding in findings if finding.level != "note"]


def test_good_versions_have_no_fault():
    assert judged(version_findings(GOOD, BUILD)) == []


@pytest.mark.parametrize(
    ("versions", "builds", "level", "words"),
    [
        ({"python": "3.9.18"}, BUILD, "problem", "Python 3.9.18 is older than 3.11"),
        ({}, {}, "problem", "fairseq is not installed"),
        ({}, {"fairseq": "0.12.2"}, "problem", "does not import on Python 3.11"),
        ({}, {**BUILD, "fairseq-fixed": "0.12.3.1"}, "warning", "installed over each other"),
        ({"torch": "2.5.1"}, BUILD, "problem", "older than 2.6"),
        ({"torch": "2.9.1+cu128"}, BUILD, "warning", "CVE-2026-24747"),
        ({"hydra-core": "1.4.0"}, BUILD, "problem", "hydra-core 1.4.0"),
        ({"sacrebleu": "2.0.0"}, BUILD, "problem", "no paired tests"),
        ({"scipy": None}, BUILD, "problem", "scipy is not installed; run pip install scipy"),
    ],
)
def test_known_bad_versions(versions, builds, level, words):
    [(found, sentence)] = judged(version_findings({**GOOD, **versions}, builds))
    assert found == level and words in sentence


@pytest.mark.parametrize(
    ("facts", "levels"),
    [
        ({"cuda": None, "driver": None, "devices": []}, ["note"]),
        ({"cuda": "13.0", "driver": "12.4", "devices": []}, ["problem"]),
        ({"cuda": "12.8", "driver": "12.8", "devices": []}, ["warning"]),
        ({"cuda": "12.8", "driver": "12.8", "devices": [{"name": "A"}]}, []),
    ],
)
def test_devices(facts, levels):
    assert [finding.level for finding in device_findings(facts)] == levels


def side(lengths=(5, 6), unknown=0, tokens=None):
    counts = SideCounts()
    counts.add(np.full(sum(lengths), 4), np.array(lengths))
    counts.unknown = unknown
    return counts


def test_content_that_a_run_may_be_sorry_for():
    hashes = np.arange(20, dtype=np.uint64)
    split = SplitCounts(
        {"source": side([5] * 19 + [1], unknown=2), "target": side([2000] + [5] * 19)},
        repeated=2,
        copied=2,
        hashes={"source": hashes, "pair": hashes},
        seen={"source": 9, "pair": 3},
    )
    sentences = " ".join(finding.sentence for finding in corpus_findings({"valid": split}, False))
    for words in (
        "1 of 20 source sentences of valid are empty",
        "2.1% of the source tokens of valid are not in the dictionary",
        "1 target sentences of valid have more than 1,024 tokens, the longest 2,000",
        "2 of 20 pairs of valid were there before (10%)",
        "2 of 20 pairs of valid have equal sides (10%)",
        "3 of 20 pairs of valid are in the training set too (15.0%)",
    ):
        assert words in sentences
    clean = SplitCounts({"source": side(), "target": side()}, copied=0, hashes={"pair": hashes})
    assert not list(corpus_findings({"valid": clean}, False))


def test_splits_beside_training_that_share_pairs():
    valid, test = (
        SplitCounts({}, hashes={"pair": np.array(values, dtype=np.uint64)})
        for values in ([1, 2, 3], [3, 4, 5, 3])
    )
    [found] = overlap_of("valid", valid, "test", test)
    assert "2 of 4 pairs of test are in valid too (50.0%)" in found.sentence
    assert (
        overlap_of("test", test, "valid", SplitCounts({}, hashes={"pair": test.hashes["pair"][:0]}))
        == []
    )


def dictionary(path, counts):
    path.write_text("".join(f"w{i} {count}\n" for i, count in enumerate(counts)))
    return path


def with_frequency(*frequencies):
    sides = {}
    for name, counts in zip(("source", "target"), frequencies, strict=False):
        sides[name] = SideCounts(frequency=np.array([0, 0, 9, 0, *counts]))
    return SplitCounts(sides)


def test_dictionaries_against_the_text(tmp_path):
    english = dictionary(tmp_path / "dict.en.txt", [9, 7, 3])
    german = dictionary(tmp_path / "dict.de.txt", [8, 6, 1])
    own = with_frequency([9, 7, 3], [8, 6, 1])
    assert dictionary_findings([english, german], own) == []
    [found] = dictionary_findings([german, english], own)
    assert found.level == "problem" and "are each other's" in found.sentence
    others = dictionary_findings([english, german], with_frequency([9, 7, 3], [2, 2, 2]))
    assert [finding.level for finding in others] == ["note"]
    joined = [dictionary(tmp_path / f"dict.{name}.txt", [17, 13, 4]) for name in ("a", "b")]
    assert dictionary_findings(joined, own) == []


def test_what_a_folder_holds(tmp_path):
    for name in ("train.en-de.en", "train.en-de.de", "train1.en-de.en", "valid.en-de.en", "test"):
        (tmp_path / f"{name}.idx").touch()
    text, pair = find_corpora(tmp_path)
    assert (text.name, pair.name) == ("text", "en-de")
    assert pair.splits == {"train": ["train", "train1"], "valid": ["valid"]}
    assert [path.name for path in pair.prefixes("train")] == ["train.en-de.en", "train.en-de.de"]
    assert [path.name for path in text.dictionaries] == ["dict.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no data set"):
        find_corpora(tmp_path / "empty")


def test_flags_given_twice():
    flags = ["data", "--lr", "1", "--cpu", "--lr=2", "--cpu", "--seed", "1", "--seed", "1"]
    [found] = repeated_flags(flags)
    assert found.sentence == "--lr is given as 1 and as 2, and only the last counts; leave one out"


def config(**flags):
    return SimpleNamespace(
        distributed_training=SimpleNamespace(
            distributed_world_size=flags.pop("workers", 1),
            distributed_init_method=None,
            distributed_port=-1,
        ),
        common=SimpleNamespace(cpu=flags.pop("cpu", False)),
        dataset=SimpleNamespace(disable_validation=False),
        checkpoint=SimpleNamespace(**flags),
    )


@pytest.mark.parametrize(
    ("workers", "cpu", "devices", "environment", "levels"),
    [
        (1, False, 0, {}, []),
        (4, False, 4, {}, []),
        (4, False, 2, {}, ["problem"]),
        (4, False, 2, {"WORLD_SIZE": "4"}, []),
        (2, True, 2, {}, ["warning"]),
        (2, False, 0, {}, ["warning"]),
    ],
)
def test_workers_against_devices(workers, cpu, devices, environment, levels):
    cfg = config(workers=workers, cpu=cpu)
    assert [f.level for f in worker_findings(cfg, devices, environment)] == levels


def test_number_of_checkpoints_kept():
    flags = {
        "no_last_checkpoints": False,
        "keep_best_checkpoints": -1,
        "no_epoch_checkpoints": False,
        "keep_last_epochs": -1,
        "save_interval": 2,
        "save_interval_updates": 0,
        "keep_interval_updates": -1,
    }
    assert kept_checkpoints(config(**flags), epochs=10.0, updates=1000) == 2 + 5
    assert kept_checkpoints(config(**{**flags, "keep_last_epochs": 3}), 10.0, 1000) == 2 + 3
    often = {**flags, "no_epoch_checkpoints": True, "save_interval_updates": 100}
    assert kept_checkpoints(config(**often), 10.0, 1000) == 2 + 10
    assert kept_checkpoints(config(**often | {"keep_interval_updates": 4}), 10.0, 1000) == 2 + 4


def test_folder_of_checkpoints(tmp_path):
    assert nearest_folder(str(tmp_path / "a" / "b")) == tmp_path
    assert folder_problem("x", tmp_path) is None
    (tmp_path / "file").touch()
    assert "is a file" in folder_problem("x", nearest_folder(str(tmp_path / "file"))).sentence


def test_section_turns_refusals_into_problems():
    section = Section("data")
    for error in (ValueError("bad\n  input"), FileNotFoundError(2, "No such file", "x.bin")):
        with section.refusals():
            raise error
    assert section.findings == [
        problem("bad input"),
        problem("x.bin: No such file; check the path and its rights"),
    ]
