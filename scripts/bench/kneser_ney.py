"""Perplexity of text under an interpolated Kneser-Ney model, the mark for a neural language model.

    python scripts/bench/kneser_ney.py CORPUS [--order 5] [--min-count 1] [--stream]

CORPUS is a folder with train.txt, valid.txt and test.txt. Conventions are those of fairseq's
word-level data, so that numbers compare with fairseq-eval-lm: words are separated by white space;
every line, an empty one too, ends in </s>, which is predicted and counted; a word that the
dictionary lacks is <unk>, which is predicted and counted like any word.

The dictionary holds the words that train has --min-count times or more (fairseq-preprocess
--thresholdsrc of the same number), </s> and <unk>. With --min-count 1 train itself has no <unk>;
smoothing leaves it the probability of a word never seen, and a neural model learns never to
predict it: compare them with rare words left out, or with --skip-unknown, which leaves unknown
words out of the mean, but not out of contexts.

Smoothing: Chen and Goodman, An Empirical Study of Smoothing Techniques for Language Modeling, 1999,
section 3: modified Kneser-Ney, three discounts an order in closed form, every order interpolated
with the next lower one and unigrams with 1 / V. --discount takes one for all counts instead: plain,
estimated for each order, or a number, such as the 0.75 that simple implementations have.
"""

import argparse
import itertools
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# So that it runs where the package is not installed, beside fairseq-train --user-dir.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_bas.errors import refuse_with

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
"""Before the first word of a sequence, never predicted; end of a line; a word not in train."""

Gram = tuple[str, ...]


def dictionary(lines: Iterable[str], min_count: int = 1) -> set[str]:
    """Return what can be predicted: words that occur often enough, ``</s>`` and ``<unk>``.

    Args:
        lines: training text.
        min_count: least number of occurrences, 1 or more.

    >>> sorted(dictionary(["a b", "b"], min_count=2))
    ['</s>', '<unk>', 'b']
    """
    counts = Counter(word for line in lines for word in line.split())
    return {word for word, count in counts.items() if count >= min_count} | {END, UNKNOWN}


def sequences(lines: Iterable[str], words: set[str], stream: bool = False) -> list[list[str]]:
    """Return token sequences, each after ``<s>``: what contexts do not reach beyond.

    Args:
        lines: text, a sentence a line.
        words: the dictionary.
        stream: False for a sequence a line; True for one sequence in all, where contexts reach
            back over line ends as the carried state of a recurrent model does.

    >>> sequences(["a b", "c"], {"a", "b", "</s>", "<unk>"})
    [['<s>', 'a', 'b', '</s>'], ['<s>', '<unk>', '</s>']]
    """
    each = [[*(w if w in words else UNKNOWN for w in line.split()), END] for line in lines]
    if stream:
        return [[START, *(token for line in each for token in line)]]
    return [[START, *line] for line in each]


def discounts(counts: Iterable[int], kind: str = "modified") -> tuple[float, float, float]:
    """Return what is taken off counts of 1, of 2, and of 3 or more.

    ``D = n_1 / (n_1 + 2 n_2)`` for all, or modified ``D_i = i - (i + 1) D n_(i+1) / n_i``, where
    ``n_i`` is the number of n-grams that occur i times (Chen and Goodman, equation 26). Where
    there is no n-gram to tell, 0.5 for all or 0.5, 1 and 1.5, as KenLM does.

    Args:
        counts: counts of the n-grams of one order, each positive.
        kind: ``modified``, ``plain``, or a number in [0, 1) as text.

    Raises:
        ValueError: if the kind is none of these.

    >>> discounts([1, 1, 1, 1, 2, 2, 3, 4])
    (0.5, 1.25, 1.0)
    """
    if kind not in ("modified", "plain"):
        if not (kind.replace(".", "", 1).isdecimal() and float(kind) < 1):
            raise ValueError(f"--discount {kind} is not modified, plain or a number below 1")
        return float(kind), float(kind), float(kind)
    n = Counter(counts)
    modified = kind == "modified"
    if not (n[1] and n[2]) or (modified and not (n[3] and n[4])):
        return (0.5, 1.0, 1.5) if modified else (0.5, 0.5, 0.5)
    plain = n[1] / (n[1] + 2 * n[2])
    if not modified:
        return plain, plain, plain
    first, second, third = (i - (i + 1) * plain * n[i + 1] / n[i] for i in (1, 2, 3))
    return max(first, 0.0), max(second, 0.0), max(third, 0.0)


class KneserNey:
    """An interpolated Kneser-Ney model.

    ``p_k(w | h) = max(a(hw) - D(a(hw)), 0) / a(h) + b(h) p_(k-1)(w | h')`` where a is the count at
    the highest order and after ``<s>``, elsewhere the number of different words before hw; a(h) is
    its sum over w; h' is h without its first word; b makes the sum over w 1; ``p_0 = 1 / V``.

    Args:
        text: training sequences, see :func:`sequences`.
        words: the dictionary, V words.
        order: n, 1 or more.
        kind: of :func:`discounts`.

    Raises:
        ValueError: if the kind is not known.
    """

    def __init__(
        self, text: Iterable[Sequence[str]], words: set[str], order: int, kind: str = "modified"
    ) -> None:
        self.words = words
        self.counts = adjusted_counts(text, order)
        self.discounts = [discounts(counts.values(), kind) for counts in self.counts]
        sums = [context_sums(*pair) for pair in zip(self.counts, self.discounts, strict=True)]
        self.totals = [totals for totals, _ in sums]
        self.left = [left for _, left in sums]

    def probability(self, word: str, context: Sequence[str]) -> float:
        """Return p(word | context).

        Args:
            word: a word of the dictionary.
            context: the tokens before it, all since ``<s>`` or the last ``order - 1`` or more.
        """
        value = 1.0 / len(self.words)
        for k, counts in enumerate(self.counts[: len(context) + 1]):
            history = tuple(context[len(context) - k :])
            total = self.totals[k].get(history)
            if total is None:
                break  # never seen, nor any that ends in it
            count = counts.get((*history, word), 0)
            taken = self.discounts[k][min(count, 3) - 1] if count else 0.0
            value = (max(count - taken, 0.0) + self.left[k][history] * value) / total
        return value

    def perplexity(
        self, text: Iterable[Sequence[str]], skip_unknown: bool = False
    ) -> tuple[float, int]:
        """Return ``exp(-mean log p)`` over all tokens after ``<s>``, and their number.

        Args:
            text: sequences, see :func:`sequences`.
            skip_unknown: True to leave ``<unk>`` out of the mean.
        """
        total, count, reach = 0.0, 0, len(self.counts) - 1
        for tokens in text:
            for at, word in enumerate(tokens[1:], start=1):
                if not (skip_unknown and word == UNKNOWN):
                    total -= math.log(self.probability(word, tokens[max(0, at - reach) : at]))
                    count += 1
        return math.exp(total / max(count, 1)), count


def adjusted_counts(text: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    """Count the n-grams of every order up to ``order``, as Kneser-Ney does.

    Returns:
        For n = 1, 2, ...: n-gram -> its count at the highest order and where it begins with
        ``<s>``, else the number of different words that come before it.
    """
    raw: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for tokens in text:
        for n, counts in enumerate(raw, start=1):
            # The first token is <s>, which is in contexts only.
            counts.update(tuple(tokens[i : i + n]) for i in range(n == 1, len(tokens) - n + 1))
    for lower, higher in itertools.pairwise(raw):
        before = Counter(gram[1:] for gram in higher)
        for gram in lower:
            if gram[0] != START:
                lower[gram] = before[gram]
    return raw


def context_sums(
    counts: Mapping[Gram, int], taken: Sequence[float]
) -> tuple[dict[Gram, int], dict[Gram, float]]:
    """Sum the counts, and what discounts take off them, over the words after each context."""
    totals: defaultdict[Gram, int] = defaultdict(int)
    left: defaultdict[Gram, float] = defaultdict(float)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        left[gram[:-1]] += min(taken[min(count, 3) - 1], count)
    return dict(totals), dict(left)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text, split at line feeds only, as fairseq does.

    Raises:
        ValueError: if it cannot be read or is empty.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{path} cannot be read ({reason}); give a folder with train, valid and test text"
        ) from error
    if not text.strip():
        raise ValueError(f"{path} has no words; give a folder with train, valid and test text")
    return text.removesuffix("\n").split("\n")


def main() -> None:
    """Print the perplexities of valid and test."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, help="folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--order", type=int, default=5, help="n [%(default)s]")
    parser.add_argument("--min-count", type=int, default=1, help="of a known word [%(default)s]")
    parser.add_argument("--discount", default="modified", help="or plain, or a number")
    parser.add_argument("--stream", action="store_true", help="contexts reach over line ends")
    parser.add_argument("--skip-unknown", action="store_true", help="leave <unk> out of the mean")
    args = parser.parse_args()
    with refuse_with():
        for flag, value in (("--order", args.order), ("--min-count", args.min_count)):
            if value < 1:
                raise ValueError(f"{flag} {value} is too small; give 1 or more")
        text = {s: read_lines(args.corpus / f"{s}.txt") for s in ("train", "valid", "test")}
        words = dictionary(text["train"], args.min_count)
        train = sequences(text["train"], words, args.stream)
        model = KneserNey(train, words, args.order, args.discount)
    print(f"dictionary {len(words)} words with {END} and {UNKNOWN}, order {args.order}")
    for split in ("valid", "test"):
        tokens = sequences(text[split], words, args.stream)
        unknown = sum(line.count(UNKNOWN) for line in tokens)
        perplexity, count = model.perplexity(tokens, args.skip_unknown)
        print(f"{split:5} perplexity {perplexity:.2f} over {count} tokens, {unknown} {UNKNOWN}")


if __name__ == "__main__":
    main()
