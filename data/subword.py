"""Learn a joint sentencepiece model on a parallel corpus and apply it to every split."""

import argparse
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sentencepiece

SIDES = ("src", "tgt")


def learn(
    corpus: Path, model: Path, vocab: int, model_type: str = "unigram", lines: int = 0
) -> sentencepiece.SentencePieceProcessor:
    """Learn a model of both sides of the training text.

    Args:
        corpus: folder with ``train.src`` and ``train.tgt``, one raw sentence a line.
        model: where to write it, without suffix.
        vocab: number of subwords, an upper bound on small corpora.
        model_type: ``unigram`` or ``bpe``.
        lines: learn on about so many lines, at equal distances in the text; 0 for all.

    Returns:
        The loaded model.
    """
    texts = [corpus / f"train.{side}" for side in SIDES]
    sentencepiece.SentencePieceTrainer.train(
        **(
            {"sentence_iterator": every_so_often(texts, lines)}
            if lines
            else {"input": ",".join(map(str, texts))}
        ),
        model_prefix=str(model),
        model_type=model_type,
        vocab_size=vocab,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,  # the model is the same on every machine
        minloglevel=1,
    )
    return sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")


def every_so_often(texts: list[Path], lines: int) -> Iterator[str]:
    """Yield about ``lines`` of all lines, at equal distances: the same on every machine."""
    total = 0
    for text in texts:
        with text.open("rb") as file:
            total += sum(1 for _ in file)
    step = max(1, -(-total // lines))
    for text in texts:
        with text.open(encoding="utf-8", newline="\n") as file:
            yield from (line.rstrip("\n") for line in itertools.islice(file, 0, None, step))


def splits_of(corpus: Path) -> list[str]:
    """Return ``train``, ``valid``, ``test`` and further test sets, ``test1`` to ``test9``."""
    more = (path.stem for path in corpus.glob(f"test[1-9].{SIDES[0]}"))
    return ["train", "valid", "test", *sorted(more)]


def segment(
    model: sentencepiece.SentencePieceProcessor, text: Path, out: Path, counts: Counter[str]
) -> None:
    """Write the subwords of a text, separated by spaces, and count them."""
    with text.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as file:
        for line in lines:
            pieces = model.encode(line, out_type=str)
            counts.update(pieces)
            file.write(f"{' '.join(pieces)}\n")


def dictionary_lines(
    model: sentencepiece.SentencePieceProcessor, counts: Counter[str]
) -> list[str]:
    """List every subword of the model as a fairseq dictionary does, the frequent ones first.

    Subword sampling produces subwords that the text as segmented here never shows; a dictionary
    counted on that text would lack them.

    Args:
        model: the model.
        counts: occurrences of subwords in the training text; those without count as one.

    Returns:
        ``SUBWORD COUNT`` for each, by falling count, then by id.
    """
    special = (model.is_control, model.is_unknown, model.is_unused)
    ids = [i for i in range(len(model)) if not any(test(i) for test in special)]
    counted = [(model.id_to_piece(i), max(1, counts[model.id_to_piece(i)])) for i in ids]
    return [f"{piece} {count}" for piece, count in sorted(counted, key=lambda entry: -entry[1])]


def main() -> None:
    """Write ``OUT/spm.model``, ``OUT/{train,valid,test}.{src,tgt}`` in subwords, ``OUT/dict.txt``.

    Further test sets, ``test1`` to ``test9``, are written too. ``dict.txt`` holds all subwords of
    the model, for ``fairseq-preprocess --srcdict``.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the raw text")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--vocab", type=int, default=2000, help="number of subwords")
    parser.add_argument(
        "--type", choices=("unigram", "bpe"), default="unigram", help="kind of model"
    )
    parser.add_argument(
        "--lines", type=int, default=0, help="learn on about so many lines of both sides [all]"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model = learn(args.corpus, args.out / "spm", args.vocab, args.type, args.lines)
    splits = splits_of(args.corpus)
    counts: dict[str, Counter[str]] = {split: Counter() for split in splits}
    for split in splits:
        for side in SIDES:
            name = f"{split}.{side}"
            segment(model, args.corpus / name, args.out / name, counts[split])
    lines = dictionary_lines(model, counts["train"])
    (args.out / "dict.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
