"""Measure checkpoints one after the other: load, choose settings, score, restore."""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqLanguageModel
from torch import Tensor

from ..data.streams import StreamText
from ..nn.dynamic_evaluation import DynamicEvaluation, check_rates
from ..nn.neural_cache import NeuralCache, interpolate
from .language_model import load_dictionary, load_model, load_text
from .perplexity_report import CheckpointResult, MethodResult, TextFacts
from .perplexity_settings import CacheSettings, DynamicSettings
from .perplexity_tuning import Tuning, choose_cache, choose_dynamic
from .text_scores import TextScores, mean_nll, score_text, statistics_of


@dataclass(frozen=True)
class Measured:
    """Hold what the command reports.

    Attributes:
        results: one for each checkpoint.
        text: facts of the text.
        words: its tokens.
        counted: (N,) bool.
        device: name of the device.
    """

    results: list[CheckpointResult]
    text: TextFacts
    words: list[str]
    counted: Tensor
    device: str


@dataclass(frozen=True)
class _Texts:
    """Hold the texts that are read: N tokens of the one to measure, and what it takes to adapt."""

    test: StreamText
    counted: Tensor
    valid: StreamText | None
    valid_counted: Tensor
    train: StreamText | None


def measure(
    args: argparse.Namespace,
    paths: Sequence[str],
    cache: CacheSettings | None,
    dynamic: DynamicSettings | None,
) -> Measured:
    """Measure the perplexity of checkpoints.

    Args:
        args: the arguments of ``fairseq-bas perplexity``.
        paths: the checkpoints.
        cache: settings of the cache, None for none.
        dynamic: settings of dynamic evaluation, None for none.

    Returns:
        The results, in the order of ``paths``.

    Raises:
        ValueError: if a setting or the input is refused.
        UserError: if a checkpoint is damaged.
    """
    if cache is not None:
        NeuralCache(cache.window, [cache.theta])
        interpolate(torch.zeros(1), torch.zeros(1), cache.weight)
    if dynamic is not None:
        check_rates(dynamic.lr, dynamic.decay, dynamic.epsilon, dynamic.rule == "rms")
    dictionary = load_dictionary(args.data)
    test = load_text(args.data, args.split, dictionary)
    texts = _Texts(
        test,
        _counted(test, dictionary.unk(), args.skip_unknown),
        *_validation(args, dictionary),
        load_text(args.data, "train", dictionary, combine=True)
        if dynamic is not None and dynamic.rule == "rms"
        else None,
    )
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    results = []
    for path in paths:
        loaded = load_model(path, args.data)
        tuning = Tuning() if args.tune else None
        if tuning is not None and args.tune_split == args.split:
            tuning.notes.append(f"settings were chosen on {args.split} itself, which flatters them")
        run = _Run(loaded.model.to(device), texts, cache, dynamic, tuning)
        results.append(run.result(loaded.facts))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts = TextFacts(
        data=args.data,
        split=args.split,
        sha256=hashlib.sha256(test.tokens.astype("<i4").tobytes()).hexdigest(),
        tokens=len(test),
        unknown=int((test.tokens == dictionary.unk()).sum()),
        skip_unknown=args.skip_unknown,
    )
    words = [dictionary[token] for token in test.tokens.tolist()]
    return Measured(results, facts, words, texts.counted, name)


class _Run:
    """Measure one checkpoint.

    Args:
        model: in eval mode, on its device.
        texts: what to read.
        cache: settings, or the middle of those to try.
        dynamic: settings, or the middle of those to try.
        tuning: where to record what was tried; None to take the settings as they are.
    """

    def __init__(
        self,
        model: FairseqLanguageModel,
        texts: _Texts,
        cache: CacheSettings | None,
        dynamic: DynamicSettings | None,
        tuning: Tuning | None,
    ):
        self.model, self.texts, self.tuning = model, texts, tuning
        self.cache, self.dynamic = cache, dynamic
        self.rms: list[Tensor] | None = None

    def result(self, facts: dict[str, object]) -> CheckpointResult:
        """Return what is found for all methods."""
        methods = self._methods(None, "static", "cache")
        if self.dynamic is not None:
            if self.texts.train is not None:
                self.rms, self.dynamic = statistics_of(self.model, self.texts.train, self.dynamic)
            methods |= self._methods(self.dynamic, "dynamic", "both")
        if self.tuning is None:
            return CheckpointResult(facts, methods)
        record = {"tokens": len(self.texts.valid or ()), "tried": self.tuning.tried}
        return CheckpointResult(facts, methods, record, self.tuning.notes)

    def _methods(
        self, dynamic: DynamicSettings | None, plain: str, mixed: str
    ) -> dict[str, MethodResult]:
        """Measure with and without a cache in one pass, after choosing what is to be chosen."""
        cache = self.cache
        if self.tuning is not None:
            dynamic, cache = self._chosen(dynamic, mixed, self.tuning)
        scores = self._scores(self.texts.test, dynamic, [cache.theta] if cache else [])
        settings = {"dynamic": dynamic} if dynamic is not None else {}
        methods = {plain: self._method(scores.model, settings)}
        if cache is not None and scores.cache is not None:
            log_probs = interpolate(scores.model, scores.cache[0], cache.weight)
            methods[mixed] = self._method(log_probs, {**settings, "cache": cache})
        return methods

    def _method(self, log_probs: Tensor, settings: Mapping[str, object]) -> MethodResult:
        nll = mean_nll(log_probs, self.texts.counted)
        return MethodResult(nll, settings, log_probs.tolist())

    def _chosen(
        self, dynamic: DynamicSettings | None, mixed: str, tuning: Tuning
    ) -> tuple[DynamicSettings | None, CacheSettings | None]:
        """Choose on the validation text."""
        text, counted = self.texts.valid, self.texts.valid_counted
        if text is None or (dynamic is None and self.cache is None):
            return dynamic, self.cache
        thetas = self.cache.thetas() if self.cache is not None else []
        if dynamic is None:
            scores = self._scores(text, None, thetas)
        else:
            dynamic, scores = choose_dynamic(
                lambda settings: self._scores(text, settings, thetas), counted, dynamic, tuning
            )
        if self.cache is None:
            return dynamic, None
        return dynamic, choose_cache(mixed, scores, counted, self.cache, tuning)

    def _scores(
        self, text: StreamText, dynamic: DynamicSettings | None, thetas: Sequence[float]
    ) -> TextScores:
        """Read a text with the trained parameters, which are there again afterwards."""
        cache = None
        if self.cache is not None and thetas:
            cache = NeuralCache(self.cache.window, thetas)
        if dynamic is None:
            return score_text(self.model, text, cache)
        with DynamicEvaluation(
            self.model, dynamic.lr, dynamic.decay, self.rms, dynamic.epsilon
        ) as adapting:
            label = f"dynamic, lr {dynamic.lr:g}, decay {dynamic.decay:g}"
            return score_text(self.model, text, cache, adapting, dynamic.segment, label)


def _validation(
    args: argparse.Namespace, dictionary: Dictionary
) -> tuple[StreamText | None, Tensor]:
    """Return the text to choose settings on and which of its tokens count; None for no choice."""
    if not args.tune:
        return None, torch.zeros(0, dtype=torch.bool)
    text = load_text(args.data, args.tune_split, dictionary)
    if args.tune_tokens is not None:
        text.tokens = text.tokens[: args.tune_tokens]
    return text, _counted(text, dictionary.unk(), args.skip_unknown)


def _counted(text: StreamText, unknown: int, skip_unknown: bool) -> Tensor:
    """Return which tokens count, (N,) bool."""
    tokens = torch.from_numpy(text.tokens)
    counted = tokens != unknown if skip_unknown else torch.ones_like(tokens, dtype=torch.bool)
    if not counted.any():
        raise ValueError(
            "every token of a text is <unk>, so none is left to count; leave --skip-unknown out"
        )
    return counted
