"""BLEU of a translation model as it stands, on fixed micro-batches."""

import argparse
from collections.abc import Sequence
from typing import Any

from fairseq import utils
from fairseq.data import Dictionary, encoders
from fairseq.dataclass.configs import GenerationConfig
from torch import nn

from .text_check import count_subword_marks

_LENGTH = {"max_len_a": 1.2, "max_len_b": 10}
"""A model far from where it was trained may never end a sentence."""


class BleuMeter:
    """Translate micro-batches and score them against their targets, both as detokenised text.

    Args:
        task: a translation task of fairseq.
        model: in eval mode; its parameters may be moved between two calls.
        batches: micro-batches of fairseq, on the device of the model.
        beam: hypotheses of the search; 1 is greedy.
        remove_bpe: fairseq's name of the subwords; None for what the vocabulary looks like.
        tokenizer: fairseq's name of the tokenizer whose work is undone; None for the one that
            training undid to compute BLEU, which is by default to do nothing.

    Raises:
        ValueError: if the task is no translation, a name is unknown or subwords remain.
    """

    def __init__(
        self,
        task: Any,
        model: nn.Module,
        batches: Sequence[dict[str, Any]],
        beam: int = 1,
        remove_bpe: str | None = None,
        tokenizer: str | None = None,
    ):
        self._task, self._model, self._batches = task, model, batches
        self._dictionary = task.target_dictionary
        self.beam = beam
        self.remove_bpe = subwords_of(self._dictionary) if remove_bpe is None else remove_bpe
        self.tokenizer = tokenizer or getattr(task.cfg, "eval_bleu_detok", None) or "space"
        self._tokenizer = _build_tokenizer(self.tokenizer, task.cfg)
        config = GenerationConfig(beam=beam, **_LENGTH)
        self._generator = task.build_generator([model], config)
        targets = [target for batch in batches for target in batch["target"]]
        try:
            # <unk> of a reference and of a translation are no match, nor are its brackets words.
            self._references = [self._text(target, "UNKNOWNTOKENINREF") for target in targets]
        except NotImplementedError as error:
            raise ValueError(
                f"--remove-bpe {self.remove_bpe} is not known; pass sentencepiece, subword_nmt or "
                "another --post-process of fairseq-generate"
            ) from error
        marked = count_subword_marks(self._references)
        if marked:
            raise ValueError(
                f"{marked} of {len(self._references)} references carry subword marks (@@ or ▁), "
                "which makes BLEU wrong; pass --remove-bpe"
            )

    def __call__(self) -> float:
        """Return BLEU in [0, 100]."""
        from sacrebleu.metrics import BLEU

        hypotheses = []
        for batch in self._batches:
            found = self._task.inference_step(self._generator, [self._model], batch)
            hypotheses += [self._text(best[0]["tokens"], "UNKNOWNTOKENINHYP") for best in found]
        # Forced: sacreBLEU would warn at every point of text that looks tokenised.
        return float(BLEU(force=True).corpus_score(hypotheses, [self._references]).score)

    def facts(self) -> dict[str, Any]:
        """Return how BLEU is computed, as plain values."""
        import sacrebleu

        return {
            "beam": self.beam,
            "remove_bpe": self.remove_bpe,
            "tokenizer": self.tokenizer,
            "references": "targets of the data, detokenised",
            "sacrebleu": sacrebleu.__version__,
            **_LENGTH,
        }

    def _text(self, tokens: Any, unknown: str) -> str:
        tokens = utils.strip_pad(tokens.int().cpu(), self._dictionary.pad())
        text = self._dictionary.string(tokens, self.remove_bpe, unk_string=unknown)
        return str(self._tokenizer.decode(text))


def subwords_of(dictionary: Dictionary) -> str | None:
    """Return fairseq's name of the subwords that a vocabulary is made of, None for whole words.

    Args:
        dictionary: of fairseq.
    """
    words = dictionary.symbols[dictionary.nspecial :]
    if any(word.startswith("▁") for word in words):
        return "sentencepiece"
    if any(word.endswith("@@") for word in words):
        return "subword_nmt"
    return None


def _build_tokenizer(name: str, cfg: Any) -> Any:
    known = encoders.TOKENIZER_REGISTRY
    if name not in known:
        raise ValueError(f"--tokenizer {name} is not known; pass one of {', '.join(sorted(known))}")
    try:
        return encoders.build_tokenizer(
            argparse.Namespace(
                tokenizer=name, source_lang=cfg.source_lang, target_lang=cfg.target_lang
            )
        )
    except ImportError as error:
        raise ValueError(f"--tokenizer {name} cannot be used: {error}") from error
