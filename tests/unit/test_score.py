"""Scores, signatures, intervals and p-values against the ``sacrebleu`` command itself."""

import importlib.util
import itertools
import json
import logging
import os
import random
import re
from pathlib import Path

import pytest

from fairseq_bas.tool.paired_score import bounded_p_value, score_systems
from fairseq_bas.tool.score_table import text_report
from fairseq_bas.tool.system_score import MetricScore, ScoreSettings, SystemScore
from tests.processes import run_cli

TEXT = "The old Dog and a young cat sleep under three big trees near our house , every day ."
WORDS = TEXT.split()


def _sentences(count: int = 40) -> list[str]:
    """Return sentences of 4 to 14 words, some with a comma, none ending in a lone period."""
    generator = random.Random(7)
    return [
        " ".join(generator.choices(WORDS, k=generator.randint(4, 14))) + " here."
        for _ in range(count)
    ]


def _damaged(sentences: list[str], share: float, seed: int) -> list[str]:
    """Return the sentences without a share of their words."""
    generator = random.Random(seed)
    return [
        " ".join(word for word in sentence.split() if generator.random() > share)
        for sentence in sentences
    ]


REFERENCE = _sentences()
BASELINE = _damaged(REFERENCE, 0.3, seed=1)
BETTER = _damaged(REFERENCE, 0.1, seed=2)
SIMILAR = _damaged(REFERENCE, 0.3, seed=4)


def _write(path: Path, sentences: list[str]) -> Path:
    path.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return path


def _sacrebleu(
    folder: Path, references: list[list[str]], systems: list[list[str]], *flags: object
) -> str:
    """Run the ``sacrebleu`` command on the texts and return what it prints."""
    paths = [_write(folder / f"ref{i}", lines) for i, lines in enumerate(references)]
    inputs = [_write(folder / f"sys{i}", lines) for i, lines in enumerate(systems)]
    return run_cli(
        "sacrebleu",
        *(*paths, "-i", *inputs, "-m", "bleu", "chrf", "ter", "-w", 8, *flags),
        env={"SACREBLEU_SEED": "99", "NO_COLOR": "1"},
    ).stdout


@pytest.mark.parametrize(
    ("flags", "settings", "references"),
    [
        ([], {}, [REFERENCE]),
        ([], {}, [REFERENCE, SIMILAR]),
        (
            ["-lc", "--chrf-lowercase", "-tok", "intl"],
            {"lowercase": True, "tokenize": "intl"},
            [REFERENCE],
        ),
    ],
    ids=["defaults", "two references", "lowercase intl"],
)
def test_one_system_equals_the_sacrebleu_command(tmp_path, flags, settings, references):
    confidence = ("--confidence", "--confidence-n", 200)
    expected = json.loads(_sacrebleu(tmp_path, references, [BASELINE], *confidence, *flags))
    [system] = score_systems(
        {"a": BASELINE},
        {f"ref{i}": lines for i, lines in enumerate(references)},
        ScoreSettings(trials=200, seed=99, **settings),
    )
    assert list(system.metrics) == ["BLEU", "chrF2", "TER"]
    for theirs in expected:
        ours = system.metrics[theirs["name"]]
        assert ours.signature == theirs["signature"]
        assert ours.score == pytest.approx(theirs["score"], abs=1e-7)
        assert ours.mean == pytest.approx(theirs["confidence_mean"], abs=1e-5)
        assert ours.ci == pytest.approx(theirs["confidence_var"], abs=1e-5)
        assert ours.p_value is None


@pytest.mark.parametrize(
    ("flag", "test"), [("bs", "bootstrap"), ("ar", "randomization")], ids=["bootstrap", "random"]
)
def test_paired_tests_equal_the_sacrebleu_command(tmp_path, flag, test):
    outputs = [BASELINE, BETTER, SIMILAR]
    paired = (f"--paired-{flag}", f"--paired-{flag}-n", 300, "-f", "latex")
    printed = _sacrebleu(tmp_path, [REFERENCE], outputs, *paired)
    rows = [line.split("&")[1:] for line in printed.splitlines() if "/sys" in line and "&" in line]
    systems = score_systems(
        dict(zip("abc", outputs, strict=True)),
        {"ref": REFERENCE},
        ScoreSettings(test=test, trials=300, seed=99),
    )
    for row, system in zip(rows, systems, strict=True):
        for cell, (name, ours) in zip(row, system.metrics.items(), strict=True):
            numbers = [float(number) for number in re.findall(r"[0-9]+\.[0-9]+", cell)]
            values = [ours.score, ours.mean, ours.ci, ours.p_value]
            present = [value for value in values if value is not None]
            assert numbers == pytest.approx(present, abs=6e-5)  # p-values have 4 digits
            assert f"{name:<10} {ours.signature}\n" in printed
            assert ours.significant == ("*" in cell)
    assert systems[1].metrics["BLEU"].significant
    assert 0.05 < systems[2].metrics["BLEU"].p_value < 1
    assert not systems[2].metrics["BLEU"].significant


@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
def test_equal_systems_are_not_significantly_different(test):
    """The bare test of sacreBLEU says p = 1 / (trials + 1) here."""
    settings = ScoreSettings(test=test, trials=50)
    upper = [sentence.upper() for sentence in BASELINE]
    systems = {"a": BASELINE, "copy": list(BASELINE), "upper": upper}
    _, copy, upper_case = score_systems(systems, {"ref": REFERENCE}, settings)
    assert [metric.p_value for metric in copy.metrics.values()] == [1.0, 1.0, 1.0]
    assert upper_case.metrics["TER"].p_value == 1.0  # it ignores case
    assert upper_case.metrics["BLEU"].significant


def test_few_differing_sentences_are_not_significant():
    """Swapping k sentences at random reaches the observed difference in 2 of 2^k cases at least."""
    settings = ScoreSettings(("bleu",), test="randomization", trials=200)
    systems = {"base": BASELINE, **{f"{k}": [*BETTER[:k], *BASELINE[k:]] for k in (1, 3, 40)}}
    _, one, three, all_sentences = score_systems(systems, {"ref": REFERENCE}, settings)
    assert one.metrics["BLEU"].p_value == 1.0
    assert three.metrics["BLEU"].p_value >= 0.25
    assert all_sentences.metrics["BLEU"].p_value == pytest.approx(1 / 201)


@pytest.mark.parametrize("differing", [1, 2, 3, 5])
def test_p_value_bound_holds_for_the_exact_randomisation_test(differing):
    """All 2^k ways to swap the differing sentences of two systems, scored one by one."""
    changed = [*BETTER[:differing], *BASELINE[differing:]]
    settings = ScoreSettings(metrics=("bleu",), test="none")

    def difference(swaps):
        first = [b if swap else a for a, b, swap in zip(BASELINE, changed, swaps, strict=False)]
        second = [a if swap else b for a, b, swap in zip(BASELINE, changed, swaps, strict=False)]
        texts = {
            "first": first + BASELINE[differing:],
            "second": second + BASELINE[differing:],
        }
        first_score, second_score = score_systems(texts, {"ref": REFERENCE}, settings)
        return second_score.metrics["BLEU"].score - first_score.metrics["BLEU"].score

    differences = [difference(swaps) for swaps in itertools.product([0, 1], repeat=differing)]
    observed = abs(differences[0])
    assert observed > 0
    exact = sum(abs(value) >= observed - 1e-9 for value in differences) / len(differences)
    assert bounded_p_value(0.0, observed, differing) <= exact + 1e-12
    assert bounded_p_value(0.7, observed, 30) == 0.7


def test_seed_fixes_the_result_and_leaves_the_environment(monkeypatch):
    systems, references = {"a": BASELINE, "b": SIMILAR}, {"ref": REFERENCE}
    monkeypatch.setenv("SACREBLEU_SEED", "none")

    def score(seed):
        return score_systems(systems, references, ScoreSettings(("bleu",), trials=100, seed=seed))

    assert score(5) == score(5)
    assert score(5) != score(6)
    assert os.environ["SACREBLEU_SEED"] == "none"
    monkeypatch.delenv("SACREBLEU_SEED")
    assert "seed:5" in score(5)[0].metrics["BLEU"].signature
    assert "SACREBLEU_SEED" not in os.environ


def test_plain_scores_have_plain_signatures(tmp_path):
    expected = json.loads(_sacrebleu(tmp_path, [REFERENCE], [BETTER]))
    _, system = score_systems(
        {"a": BASELINE, "b": BETTER}, {"ref": REFERENCE}, ScoreSettings(test="none")
    )
    for theirs in expected:
        ours = system.metrics[theirs["name"]]
        assert (ours.signature, ours.ci, ours.p_value) == (theirs["signature"], None, None)
        assert ours.score == pytest.approx(theirs["score"], abs=1e-7)


@pytest.mark.parametrize(
    ("systems", "references", "message"),
    [
        ({}, {"ref": ["a"]}, "nothing to score"),
        ({"a": ["a"]}, {}, "nothing to score"),
        ({"a": []}, {"ref": ["a"]}, "system a is empty"),
        ({"a": ["a"]}, {"ref": []}, "reference ref is empty"),
        ({"a": ["a"], "b": ["a", "b"]}, {"r": ["a"]}, "system b has 2 lines but reference r has 1"),
        ({"a": ["a"]}, {"r": ["a"], "s": ["a", "b"]}, "reference s has 2 .* reference r has 1"),
        ({"a": ["ein Ha@@ us", "x"]}, {"r": ["a", "b"]}, "1 of 2 lines of system a .*--remove-bpe"),
        ({"a": ["Haus@@", "x@@ y"]}, {"r": ["a", "b"]}, "2 of 2 lines of system a .*--remove-bpe"),
        ({"a": ["▁ein ▁Haus"]}, {"r": ["a"]}, "1 of 1 .*--remove-bpe sentencepiece"),
        ({"a": ["a"]}, {"r": ["ein Ha@@ us"]}, "1 of 1 lines of reference r .* raw text"),
    ],
)
def test_unscorable_texts_are_refused(systems, references, message):
    with pytest.raises(ValueError, match=message):
        score_systems(systems, references)


def test_allowed_subword_marks_are_scored_as_text():
    settings = ScoreSettings(("bleu",), test="none")
    lines = {"text": ["mail me @@ home or a@@ b or not"]}
    [system] = score_systems(lines, lines, settings, allow_subword=True)
    assert system.metrics["BLEU"].score == pytest.approx(100)
    emails = {"text": ["a@@b is one word"]}
    assert score_systems(emails, emails, settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("bleu", "meteor")}, "--metrics 'bleu,meteor'"),
        ({"metrics": ("bleu", "bleu")}, "distinct"),
        ({"metrics": ()}, "--metrics"),
        ({"test": "t-test"}, "--test t-test"),
        ({"trials": 1}, "--trials 1"),
        ({"seed": 0}, "--seed 0"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScoreSettings(**arguments)


def test_what_cannot_be_measured_is_refused():
    texts = {"a": ["ein Haus"]}
    with pytest.raises(ValueError, match=r"--tokenize 14b is unknown; choose from .*13a"):
        score_systems(texts, texts, ScoreSettings(tokenize="14b"))
    with pytest.raises(ValueError, match="--test randomization compares systems"):
        score_systems(texts, texts, ScoreSettings(test="randomization"))


@pytest.mark.skipif(importlib.util.find_spec("MeCab") is not None, reason="MeCab is installed")
def test_tokenizer_that_is_not_installed_is_refused():
    texts = {"a": ["ein Haus"]}
    with pytest.raises(ValueError, match=r"(?s)--tokenize ja-mecab cannot be used: .*pip install"):
        score_systems(texts, texts, ScoreSettings(tokenize="ja-mecab", test="none"))


def test_suspicious_texts_are_scored_with_a_warning(caplog):
    settings = ScoreSettings(("bleu", "ter"), test="none")
    tokenised = [sentence.replace(".", " .") for sentence in BASELINE]
    systems = {"clean": BASELINE, "tokenised": tokenised, "holes": ["", *BASELINE[1:]]}
    with caplog.at_level(logging.WARNING):
        score_systems(systems, {"ref": REFERENCE}, settings)
    periods, holes = [record.getMessage() for record in caplog.records]
    count = sum(sentence.endswith(" .") for sentence in tokenised)
    assert periods.startswith(f"{count} of 40 lines of system tokenised end in a tokenized period")
    assert holes.startswith("1 of 40 lines of system holes are empty")


def test_table_marks_what_is_significant():
    def metric(score, p_value=None):
        return MetricScore(score, "nrefs:1", mean=score, ci=1.234, p_value=p_value)

    systems = [
        SystemScore("baseline", {"BLEU": metric(27.3), "TER": metric(50.0)}),
        SystemScore("M4", {"BLEU": metric(28.456, 0.0499), "TER": metric(49.0, 0.05)}),
    ]
    assert text_report(systems, ScoreSettings(seed=3)).splitlines() == [
        "System     BLEU    +-       p     TER    +-       p",
        "baseline  27.30  1.23       -   50.00  1.23       -",
        "M4        28.46  1.23  0.0499*  49.00  1.23  0.0500",
        "",
        "+-  half of the 95% bootstrap interval (1000 resamples, seed 3)",
        "p   against baseline (paired bootstrap resampling); * p < 0.05",
        "TER: lower is better",
        "",
        "BLEU   nrefs:1",
        "TER    nrefs:1",
    ]
