"""Clean a text for a language model and keep what is held out from being trained on.

    python data/clean_text.py --raw DIR --out DIR [--lower]

DIR has ``train.txt`` and may have ``valid.txt`` and ``test.txt``. Lines lose control characters and
double spaces, and empty ones go; their order stays, as a language model reads on from line to line.
A split that is missing is a twentieth of the training text: test is its end, valid what comes
before that. Lines of the training text with the letters of one that is held out are removed, and
lines of valid with those of one of test.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import corpus_files
import pair_cleaning
from clean_pairs import SHARE, letters
from corpus_files import CorpusError


def read_lines(path: Path, lower: bool) -> Iterator[str]:
    """Yield the clean lines of a text.

    Raises:
        CorpusError: it is not UTF-8.
    """
    with path.open("rb") as file:
        for count, line in enumerate(file, start=1):
            try:
                text = pair_cleaning.tidy(line.decode("utf-8"))
            except UnicodeDecodeError:
                raise CorpusError(f"line {count} of {path} is not UTF-8; convert it") from None
            if text:
                yield text.lower() if lower else text


def clean(raw: Path, lower: bool) -> dict[str, list[str]]:
    """Return the lines of every split.

    Args:
        raw: folder of the text.
        lower: in lower case.

    Returns:
        ``train``, ``valid`` and ``test``.

    Raises:
        CorpusError: the text is too short.
    """
    paths = {split: raw / f"{split}.txt" for split in corpus_files.SPLITS}
    texts = {s: list(read_lines(path, lower)) for s, path in paths.items() if path.exists()}
    train, share = texts["train"], len(texts["train"]) // SHARE
    for split in ("test", "valid"):
        if split not in texts:
            if not share:
                raise CorpusError(f"{len(train)} lines are too few to hold any out; give more text")
            texts[split] = train[-share:]
            del train[-share:]
    in_test = set(map(letters, texts["test"]))
    texts["valid"] = [line for line in texts["valid"] if letters(line) not in in_test]
    held = in_test.union(map(letters, texts["valid"]))
    texts["train"] = [line for line in train if letters(line) not in held]
    for split, lines in texts.items():
        if not lines:
            raise CorpusError(f"no line is left in {split}; give more text")
    return texts


def main(arguments: Sequence[str] | None) -> str:
    """Write the clean text and return its size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raw", type=Path, required=True, help="folder of the text")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--lower", action="store_true", help="write lower case")
    args = parser.parse_args(arguments)
    texts = clean(args.raw, args.lower)
    sizes = [
        f"{split}: {len(texts[split])} lines, {corpus_files.count_words(texts[split])} words"
        for split in corpus_files.SPLITS
    ]
    head = "Text cleaned by data/clean_text.py, a sentence or paragraph a line."
    files = {f"{split}.txt": lines for split, lines in texts.items()}
    return corpus_files.publish(args.out, files, "\n".join([head, *sizes]))


if __name__ == "__main__":
    corpus_files.command(main)
