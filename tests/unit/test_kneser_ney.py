"""The n-gram model that language models are compared with: by hand, by definition, as command."""

import importlib.util
import itertools
import math
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from fairseq.data import Dictionary

from tests.processes import ROOT

SCRIPT = ROOT / "scripts/bench/kneser_ney.py"
_spec = importlib.util.spec_from_file_location("kneser_ney", SCRIPT)
kn = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kn)


def text(count: int, seed: int = 1) -> list[str]:
    """Return sentences in which a word often follows its neighbour in the alphabet."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        words = [draw.choice("abcdefgh")]
        while draw.random() < 0.85:
            follows = chr(97 + (ord(words[-1]) - 96) % 8)
            words.append(follows if draw.random() < 0.5 else draw.choice("abcdefghijklmnop"))
        lines.append(" ".join(words))
    return lines


def model(lines: list[str], order: int, kind: str = "modified", min_count: int = 1, stream=False):
    words = kn.dictionary(lines, min_count)
    return kn.KneserNey(kn.sequences(lines, words, stream), words, order, kind)


def test_a_bigram_case_worked_by_hand() -> None:
    # Bigrams: <s> a 2, a b 1, b </s> 2, a c 1, c </s> 1, <s> b 1; V = a b c </s> <unk>.
    # Words seen before a, b, </s>, c: 1, 2, 2, 1, in all 6. D = 1/2.
    small = model(["a b", "a c", "b"], 2, "0.5")
    p_b = 1.5 / 6 + (4 * 0.5 / 6) / 5
    assert small.probability("b", ["a"]) == pytest.approx(0.5 / 2 + (2 * 0.5 / 2) * p_b)
    assert small.probability("b", ["<s>"]) == pytest.approx(0.5 / 3 + (2 * 0.5 / 3) * p_b)
    assert small.probability("<unk>", ["<unk>"]) == pytest.approx((4 * 0.5 / 6) / 5)
    p_a, p_end = 0.5 / 6 + 1 / 15, p_b  # </s> was seen after as many words as b
    product = (1.5 / 3 + p_a / 3) * (0.5 * p_end)
    assert small.perplexity([["<s>", "a", "</s>"]]) == (pytest.approx(product**-0.5), 2)


def by_definition(lines: list[list[str]], size: int, order: int, word: str, context: list[str]):
    """Return p(word | context) with D = 0.75, by counting in the text at every step."""
    grams = [
        [tuple(line[i : i + n]) for line in lines for i in range(n == 1, len(line) - n + 1)]
        for n in range(1, order + 2)
    ]

    def count(gram: tuple[str, ...], highest: bool) -> int:
        if highest or gram[0] == "<s>":
            return grams[len(gram) - 1].count(gram)
        return len({longer[0] for longer in grams[len(gram)] if longer[1:] == gram})

    def p(history: tuple[str, ...]) -> float:
        highest = len(history) == order - 1
        after = {gram[-1] for gram in grams[len(history)] if gram[:-1] == history}
        counts = {w: count((*history, w), highest) for w in after}
        lower = p(history[1:]) if history else 1 / size
        if not counts:
            return lower
        total = sum(counts.values())
        discounted = max(counts.get(word, 0) - 0.75, 0)
        return (discounted + 0.75 * len(counts) * lower) / total

    return p(tuple(context[max(0, len(context) - order + 1) :]))


@pytest.mark.parametrize("stream", [False, True])
def test_a_trigram_model_is_its_definition(stream: bool) -> None:
    lines = text(25)
    trained = model(lines, 3, "0.75", stream=stream)
    words = kn.dictionary(lines)
    train = kn.sequences(lines, words, stream)
    for tokens in kn.sequences([*text(3, seed=2), "a z b", ""], words, stream):
        for at in range(1, len(tokens)):
            truth = by_definition(train, len(words), 3, tokens[at], tokens[:at])
            context = tokens[max(0, at - 2) : at]
            assert trained.probability(tokens[at], context) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("kind", ["modified", "plain", "0.75"])
@pytest.mark.parametrize("min_count", [1, 3])
def test_probabilities_sum_to_one_in_every_context(kind: str, min_count: int) -> None:
    trained = model(text(60), 4, kind, min_count)
    contexts = {context for totals in trained.totals for context in totals}
    unseen = set(itertools.product(["<s>", "a", "<unk>", "</s>"], repeat=3))
    assert len(contexts) > 200 and unseen - contexts
    for context in contexts | unseen:
        total = sum(trained.probability(word, context) for word in trained.words)
        assert total == pytest.approx(1, abs=1e-12)


def test_discounts_are_those_of_chen_and_goodman() -> None:
    counts = [1] * 100 + [2] * 30 + [3] * 12 + [4] * 6 + [9] * 5
    y = 100 / 160
    expected = (1 - 2 * y * 30 / 100, 2 - 3 * y * 12 / 30, 3 - 4 * y * 6 / 12)
    assert kn.discounts(counts) == pytest.approx(expected)
    assert kn.discounts(counts, "plain") == (y, y, y)
    assert kn.discounts([1, 1, 2]) == (0.5, 1.0, 1.5)  # nothing occurs three times


def test_contexts_and_estimated_discounts_pay_off() -> None:
    train, test = text(400), text(60, seed=2)

    def perplexity(order: int, kind: str = "modified") -> float:
        trained = model(train, order, kind)
        return trained.perplexity(kn.sequences(test, trained.words))[0]

    assert perplexity(1) > 1.3 * perplexity(2)  # by construction of the text
    assert perplexity(2) < perplexity(2, "0.1")


@pytest.mark.parametrize("min_count", [1, 2])
def test_words_and_line_ends_are_those_of_fairseq(min_count: int, tmp_path: Path) -> None:
    lines = ["a b  c", "", "a b\u2028d", "<unk> a", "e\tf e"]
    path = tmp_path / "train.txt"
    path.write_bytes(("\n".join(lines) + "\n").encode())
    theirs = Dictionary()
    Dictionary.add_file_to_dictionary(str(path), theirs, lambda line: line.split(), 1)
    theirs.finalize(threshold=min_count, padding_factor=1)
    ours = kn.dictionary(kn.read_lines(path), min_count)
    assert ours == set(theirs.symbols) - {"<s>", "<pad>"}
    tokens = [
        [theirs[i] for i in theirs.encode_line(line, str.split, False).tolist()]
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]
    ]
    assert [line[1:] for line in kn.sequences(kn.read_lines(path), ours)] == tokens


def run(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for seed, split in enumerate(("train", "valid", "test")):
        lines = [*text(50, seed), "rare word"] if seed else text(300, seed)
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_the_command_prints_both_perplexities(corpus: Path) -> None:
    result = run(corpus, "--order", 3, "--skip-unknown")
    assert result.returncode == 0, result.stderr
    train, test = (kn.read_lines(corpus / f"{split}.txt") for split in ("train", "test"))
    trained = model(train, 3)
    total = count = 0
    for tokens in kn.sequences(test, trained.words):
        for at in range(1, len(tokens)):
            if tokens[at] != "<unk>":
                context = tokens[max(0, at - 2) : at]
                total += math.log(trained.probability(tokens[at], context))
                count += 1
    expected = f"test  perplexity {math.exp(-total / count):.2f} over {count} tokens, 2 <unk>"
    assert result.stdout.splitlines()[2] == expected
    counted = Counter(word for line in test for word in line.split())
    assert count == sum(counted.values()) - 2 + len(test)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["{corpus}/none"], "train.txt cannot be read (No such file"),
        (["{corpus}", "--order", "0"], "--order 0 is too small"),
        (["{corpus}", "--min-count", "0"], "--min-count 0 is too small"),
        (["{corpus}", "--discount", "1.5"], "--discount 1.5 is not"),
        (["{corpus}", "--discount", "most"], "--discount most is not"),
    ],
)
def test_wrong_input_is_one_line(args: list[str], message: str, corpus: Path) -> None:
    result = run(*(arg.format(corpus=corpus) for arg in args))
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and result.stderr.count("\n") == 1
