"""Learn a joint sentencepiece model on a parallel corpus and apply it to every split."""

import argparse
from pathlib import Path

import sentencepiece

SPLITS = ("train", "valid", "test")
SIDES = ("src", "tgt")


def learn(corpus: Path, model: Path, vocab: int) -> sentencepiece.SentencePieceProcessor:
    """Learn a unigram model of both sides of the training text.

    Args:
        corpus: folder with ``train.src`` and ``train.tgt``, one raw sentence a line.
        model: where to write it, without suffix.
        vocab: number of subwords, an upper bound on small corpora.

    Returns:
        The loaded model.
    """
    sentencepiece.SentencePieceTrainer.train(
        input=",".join(str(corpus / f"train.{side}") for side in SIDES),
        model_prefix=str(model),
        vocab_size=vocab,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,  # the model is the same on every machine
        minloglevel=1,
    )
    return sentencepiece.SentencePieceProcessor(model_file=f"{model}.model")


def main() -> None:
    """Write ``OUT/spm.model`` and ``OUT/{train,valid,test}.{src,tgt}`` in subwords."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the raw text")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--vocab", type=int, default=2000, help="number of subwords")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model = learn(args.corpus, args.out / "spm", args.vocab)
    for split in SPLITS:
        for side in SIDES:
            lines = (args.corpus / f"{split}.{side}").read_text(encoding="utf-8").splitlines()
            pieces = (" ".join(model.encode(line, out_type=str)) for line in lines)
            text = "".join(f"{line}\n" for line in pieces)
            (args.out / f"{split}.{side}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
