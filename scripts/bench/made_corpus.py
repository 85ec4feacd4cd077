"""Write a corpus of random tokens as fairseq-preprocess does, for benchmarks: time does not depend
on what the text says.

    python scripts/bench/made_corpus.py OUT [--sentences 20000] [--vocab 32768]

Sources have 5 to 60 tokens, targets 0.8 to 1.3 times as many; one dictionary for both sides.
"""

import argparse
from pathlib import Path

import numpy as np
from fairseq.data.indexed_dataset import MMapIndexedDataset

SPECIAL_SYMBOLS, END = 4, 2


def main() -> None:
    """Write the corpus."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--sentences", type=int, default=20_000, help="of train [%(default)s]")
    parser.add_argument("--vocab", type=int, default=32_768, help="with special symbols")
    args = parser.parse_args()
    write_corpus(args.out, args.sentences, args.vocab)


def write_corpus(folder: Path, sentences: int, vocab: int) -> None:
    """Write ``train`` and ``valid`` of src-tgt, and the dictionaries.

    Args:
        folder: made if it is not there.
        sentences: pairs of ``train``.
        vocab: entries of the dictionary with its four special symbols, at most 65,536.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(1)
    words = "".join(f"w{i} 1\n" for i in range(vocab - SPECIAL_SYMBOLS))
    for side in ("src", "tgt"):
        (folder / f"dict.{side}.txt").write_text(words, encoding="utf-8")
    for split, count in (("train", sentences), ("valid", 100)):
        source = generator.integers(5, 60, size=count)
        target = np.maximum(2, source * generator.uniform(0.8, 1.3, size=count)).astype(int)
        for side, lengths in (("src", source), ("tgt", target)):
            tokens = generator.integers(SPECIAL_SYMBOLS, vocab, lengths.sum(), dtype=np.uint16)
            tokens[np.cumsum(lengths) - 1] = END
            prefix = str(folder / f"{split}.src-tgt.{side}")
            tokens.tofile(f"{prefix}.bin")
            with MMapIndexedDataset.Index.writer(f"{prefix}.idx", np.uint16) as index:
                index.write(lengths.tolist())
    (folder / "done").touch()


if __name__ == "__main__":
    main()
