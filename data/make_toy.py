"""Make a toy corpus: translation pairs or running text from a small grammar, for tests.

The grammar is in ``toy_grammar.py``. No sentence occurs twice in the corpus, so none of valid or
test is in train. The same seed and sizes give the same bytes on every machine; valid and test do
not depend on the size of train, and a smaller train is the beginning of a larger one.

``--kind lm`` writes the source language as running text: with probability 0.7 a sentence is about
the noun that the sentence before it ended with, which a model sees only if it carries its state
from line to line.
"""

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import corpus_files
import toy_grammar
from corpus_files import CorpusError

CONTINUE = 0.7


def draw(sizes: Mapping[str, int], seed: int, running: bool) -> dict[str, list[tuple[str, str]]]:
    """Draw the sentences of all splits, all different.

    Args:
        sizes: sentences of ``train``, ``valid`` and ``test``, each 1 or more.
        seed: seed of the generator.
        running: True for text where a sentence tends to be about the last noun before it.

    Returns:
        (source, target) sentences by split.

    Raises:
        CorpusError: a size is below 1, or their sum is over half of what the grammar holds.
    """
    for split, size in sizes.items():
        if size < 1:
            raise CorpusError(f"--{split} {size} is too small; give 1 or more")
    most = toy_grammar.capacity() // 2
    if sum(sizes.values()) > most:
        raise CorpusError(
            f"{sum(sizes.values())} sentences were asked for; the grammar supplies {most} "
            f"different ones; ask for fewer"
        )
    generator = random.Random(seed)
    seen: set[str] = set()
    result: dict[str, list[tuple[str, str]]] = {}
    for split in ("test", "valid", "train"):
        last = None
        rows = result.setdefault(split, [])
        while len(rows) < sizes[split]:
            go_on = running and generator.random() < CONTINUE
            sentence = toy_grammar.draw_sentence(generator, last if go_on else None)
            source = sentence.source()
            if source not in seen:
                seen.add(source)
                rows.append((source, sentence.target()))
                last = sentence.clause.thing.noun
    return result


def corpus(kind: str, sizes: Mapping[str, int], seed: int) -> dict[str, list[str]]:
    """Return the lines of every file of the corpus.

    Args:
        kind: ``parallel`` (``train.src``, ``train.tgt``, ...) or ``lm`` (``train.txt``, ...).
        sizes: sentences of ``train``, ``valid`` and ``test``.
        seed: seed of the generator.

    Returns:
        Lines by file name.

    Raises:
        CorpusError: see :func:`draw`.
    """
    splits = draw(sizes, seed, running=kind == "lm")
    suffixes = ["txt"] if kind == "lm" else ["src", "tgt"]
    return {
        f"{split}.{suffix}": [pair[side] for pair in splits[split]]
        for split in corpus_files.SPLITS
        for side, suffix in enumerate(suffixes)
    }


def main(arguments: Sequence[str] | None) -> str:
    """Make the corpus and return its summary, or say that it is there already."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--kind", choices=("parallel", "lm"), default="parallel")
    parser.add_argument("--seed", type=int, default=1, help="[%(default)s]")
    for split, size in zip(corpus_files.SPLITS, (2000, 200, 200), strict=True):
        parser.add_argument(f"--{split}", type=int, default=size, help="sentences [%(default)s]")
    args = parser.parse_args(arguments)
    sizes = {split: getattr(args, split) for split in corpus_files.SPLITS}
    files = corpus(args.kind, sizes, args.seed)
    counts = [f"{name}: {corpus_files.count_words(lines)} tokens" for name, lines in files.items()]
    head = f"Toy corpus made by data/make_toy.py --kind {args.kind} --seed {args.seed}: "
    head += ", ".join(f"{size} {split}" for split, size in sizes.items())
    return corpus_files.publish(args.out, files, "\n".join([head, *counts]))


if __name__ == "__main__":
    corpus_files.command(main)
