"""Sentencepiece models of small texts, and sentences in ids, for the tests of subword sampling."""

import pydoc_data.topics
import random
import sys
from pathlib import Path

import sentencepiece
import torch

from fairseq_bas.noise.subword import SubwordSampler

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "data"))
import toy_grammar  # noqa: E402

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
EOS, UNKNOWN, TAG = 2, 3, "[en_XX]"


def toy_lines() -> list[str]:
    rng = random.Random(5)
    pairs = [toy_grammar.draw_sentence(rng) for _ in range(600)]
    return [side for pair in pairs for side in (pair.source(), pair.target())]


def english_lines() -> list[str]:
    """Return prose that comes with Python: the language reference."""
    text = "\n".join(pydoc_data.topics.topics.values())
    return [line for line in text.splitlines() if len(line.split()) > 4]


def train(folder: Path, name: str, lines: list[str], vocab: int, kind: str) -> Path:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / name),
        vocab_size=vocab,
        model_type=kind,
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return folder / f"{name}.model"


def processor_of(model: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(model))


def symbols_of(model: Path) -> list[str]:
    """Return a dictionary that numbers the pieces otherwise than the model does."""
    processor = processor_of(model)
    return [*SPECIAL, *sorted(processor.id_to_piece(i) for i in range(3, len(processor))), TAG]


def sampler_of(model: Path, strength: float, **kwargs) -> SubwordSampler:
    return SubwordSampler(model, symbols_of(model), strength, **kwargs)


def stored(sampler: SubwordSampler, line: str) -> torch.Tensor:
    pieces = sampler.model.processor.encode(line, out_type=str)
    index = {symbol: i for i, symbol in enumerate(sampler.symbols)}
    return torch.tensor([*(index.get(piece, UNKNOWN) for piece in pieces), EOS])


def text_of(sampler: SubwordSampler, ids: torch.Tensor) -> str:
    return "".join(sampler.symbols[i] for i in ids.tolist() if i != EOS).replace("▁", " ").strip()


def scores_of(processor) -> dict[str, float]:
    return {processor.id_to_piece(i): processor.get_score(i) for i in range(3, len(processor))}
