"""Toy corpora that several tests share, and command lines of tiny models that train on them.

The fixtures that go with this file (``toy``, ``toy_lm``) are in ``conftest.py``.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from tests.processes import USER_DIR, run_cli

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ZAHLEN = ["null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun"]


@dataclass(frozen=True)
class Toy:
    """A toy corpus: ``text`` holds train/valid/test plain text, ``bin`` what fairseq reads."""

    text: Path
    bin: Path


def write_toy_text(folder: Path, sizes: dict[str, int], seed: int = 1) -> None:
    """Write ``{split}.en`` and ``{split}.de``: number words, and the same in German, reversed.

    The text is the same for the same seed, on every machine. Sentences have 2 to 9 words.

    Args:
        folder: existing folder.
        sizes: sentences of each split, e.g. ``{"train": 60, "valid": 10}``.
        seed: seed of the generator.
    """
    generator = random.Random(seed)
    for split, count in sizes.items():
        lines = [
            [generator.randrange(10) for _ in range(generator.randint(2, 9))] for _ in range(count)
        ]
        english = [" ".join(NUMBERS[digit] for digit in line) for line in lines]
        german = [" ".join(ZAHLEN[digit] for digit in reversed(line)) for line in lines]
        (folder / f"{split}.en").write_text("\n".join(english) + "\n", encoding="utf-8")
        (folder / f"{split}.de").write_text("\n".join(german) + "\n", encoding="utf-8")


def make_toy(folder: Path, sizes: dict[str, int] | None = None, only_source: bool = False) -> Toy:
    """Write a toy corpus under ``folder`` and binarise it with the real ``fairseq-preprocess``.

    Args:
        folder: folder to create.
        sizes: sentences of each split; default 60 train, 12 valid, 12 test.
        only_source: True for a language-model data set of the English side.

    Returns:
        The folders of the text and of the binarised data.
    """
    toy = Toy(text=folder / "text", bin=folder / "bin")
    toy.text.mkdir(parents=True)
    sizes = sizes or {"train": 60, "valid": 12, "test": 12}
    write_toy_text(toy.text, sizes)
    suffix = ".en" if only_source else ""
    language = ["--only-source"] if only_source else ["-s", "en", "-t", "de", "--joined-dictionary"]
    prefixes = [f"--{split}pref={toy.text / split}{suffix}" for split in sizes]
    run_cli("fairseq_cli.preprocess", *language, *prefixes, "--destdir", toy.bin, "--workers", 1)
    return toy


def make_pieces(folder: Path, model_type: str = "unigram") -> Toy:
    """Write the toy corpus in subwords of a sentencepiece model, ``text/spm.model``, binarised.

    Args:
        folder: folder to create.
        model_type: ``unigram`` or ``bpe``.

    Returns:
        The folders of the subwords (with ``spm.model`` and ``dict.txt``) and of the data.
    """
    raw, toy = folder / "raw", Toy(text=folder / "text", bin=folder / "bin")
    raw.mkdir(parents=True)
    write_toy_text(raw, {"train": 60, "valid": 12, "test": 12})
    for path in list(raw.iterdir()):
        path.rename(path.with_suffix(".src" if path.suffix == ".en" else ".tgt"))
    subword = ("--corpus", raw, "--out", toy.text, "--vocab", 60, "--type", model_type)
    run_cli("data.subword", *subword, forked=True)
    splits = ("train", "valid", "test")
    run_cli(
        "fairseq_cli.preprocess",
        *("-s", "src", "-t", "tgt", "--joined-dictionary", "--srcdict", toy.text / "dict.txt"),
        *(f"--{split}pref={toy.text / split}" for split in splits),
        *("--destdir", toy.bin, "--workers", 1),
    )
    return toy


def _tiny(save_dir: Path) -> list[object]:
    """Flags common to all tiny training runs: CPU, small, a log line of JSON for every update."""
    return [
        *("--cpu", "--user-dir", USER_DIR, "--save-dir", save_dir, "--seed", 1),
        *("--max-tokens", 200, "--required-batch-size-multiple", 1, "--num-workers", 0),
        *("--optimizer", "adam", "--lr", "0.003", "--clip-norm", 1),
        *("--log-format", "json", "--log-interval", 1),
    ]


def tiny_transformer(toy: Toy, save_dir: Path, *, task: str = "translation") -> list[object]:
    """Return ``fairseq-train`` flags of a one-layer transformer of width 16 with dropout 0.1."""
    return [
        *(toy.bin, "--task", task, "--arch", "transformer_iwslt_de_en"),
        *("--encoder-layers", 1, "--decoder-layers", 1, "--share-all-embeddings"),
        *("--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 32),
        *("--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32),
        *("--encoder-attention-heads", 2, "--decoder-attention-heads", 2, "--dropout", 0.1),
        *("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", 0.1),
        *_tiny(save_dir),
    ]


def tiny_lstm(toy: Toy, save_dir: Path, *, task: str = "translation") -> list[object]:
    """Return ``fairseq-train`` flags of a one-layer LSTM translation model of width 16."""
    return [
        *(toy.bin, "--task", task, "--arch", "lstm"),
        *("--encoder-embed-dim", 16, "--encoder-hidden-size", 16, "--encoder-layers", 1),
        *("--decoder-embed-dim", 16, "--decoder-hidden-size", 16, "--decoder-layers", 1),
        *("--decoder-out-embed-dim", 16, "--dropout", 0.1),
        *("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", 0.1),
        *_tiny(save_dir),
    ]


def tiny_lstm_lm(toy_lm: Toy, save_dir: Path, *, task: str = "language_modeling") -> list[object]:
    """Return ``fairseq-train`` flags of a one-layer LSTM language model of width 16."""
    return [
        *(toy_lm.bin, "--task", task, "--arch", "lstm_lm", "--tokens-per-sample", 20),
        *("--decoder-embed-dim", 16, "--decoder-hidden-size", 16, "--decoder-layers", 1),
        *("--decoder-out-embed-dim", 16, "--dropout", 0.1),
        *_tiny(save_dir),
    ]


def tiny_awd_lstm_lm(
    toy_lm: Toy, save_dir: Path, *, task: str = "bas_language_modeling"
) -> list[object]:
    """Return ``fairseq-train`` flags of a two-layer AWD-LSTM of width 16 on five streams."""
    rates = [f"--bas-dropout-{place}" for place in ("embedding", "input", "hidden", "output")]
    return [
        *(toy_lm.bin, "--task", task, "--arch", "bas_awd_lstm_lm", "--tokens-per-sample", 12),
        *("--bas-embed-dim", 16, "--bas-hidden-dim", 24, "--bas-layers", 2, "--batch-size", 5),
        *(flag for rate in rates for flag in (rate, 0.1)),
        *("--bas-weight-drop", 0.2, "--criterion", "bas_cross_entropy"),
        *_tiny(save_dir),
    ]


def tiny_bas_lstm(
    toy: Toy, save_dir: Path, *, task: str = "bas_translation", dropout: float = 0.1
) -> list[object]:
    """Return ``fairseq-train`` flags of a two-layer LSTM translation model of width 16."""
    rates = [f"--bas-dropout-{place}" for place in ("embedding", "input", "hidden", "output")]
    return [
        *(toy.bin, "--task", task, "--arch", "bas_lstm", "--bas-share-embeddings", "all"),
        *("--bas-embed-dim", 16, "--bas-hidden-dim", 16),
        *(flag for rate in rates for flag in (rate, dropout)),
        *("--bas-weight-drop", dropout, "--criterion", "bas_cross_entropy"),
        *("--label-smoothing", 0.1),
        *_tiny(save_dir),
    ]


EVAL_BLEU = [
    *("--eval-bleu", "--eval-bleu-args", '{"beam": 1, "max_len_a": 1, "max_len_b": 3}'),
    *("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
]
"""Flags that score BLEU at validation, so that the checkpoint holds NumPy counts."""
