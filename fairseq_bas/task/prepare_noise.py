"""Make what noise needs to know of a training set: vocabularies, bigrams, subword samplers."""

from collections.abc import Iterator, Mapping

import torch
from fairseq.data import Dictionary, FairseqDataset, LanguagePairDataset
from torch import Tensor

from ..data.sampled_pairs import SampledPairs
from ..data.streams import StreamText
from ..noise.bigram import bigram_statistics
from ..noise.pipeline import NoisePipeline
from ..noise.subword import SubwordSampler
from ..noise.vocabulary import Vocabulary, vocabulary_of
from .copy_noise import CopyNoise
from .noise_config import FLAG, NoisePlan


def prepared_noise(task, pairs: LanguagePairDataset) -> CopyNoise:
    """Return the noise of a translation task's copies.

    Args:
        task: a task with ``noise_plan`` and dictionaries.
        pairs: its training set.

    Raises:
        ValueError: one sentence, if the text does not fit the noise.
    """
    texts = {
        "source": _after_end_of_sentence(pairs.src),
        "target": _after_end_of_sentence(pairs.tgt),
    }
    return CopyNoise(
        task.noise_plan,
        task.cfg.seed,
        _pipelines(task.noise_plan, _dictionaries(task), texts),
        padding=task.source_dictionary.pad(),
        left_pad_source=task.cfg.left_pad_source,
    )


def prepared_language_noise(task, text: FairseqDataset) -> CopyNoise:
    """Return the noise of a language model's copies.

    Args:
        task: a task with ``noise_plan`` and a dictionary.
        text: its training set, as streams or as fairseq's blocks.

    Raises:
        ValueError: one sentence, if the text does not fit the noise.
    """
    if isinstance(text, StreamText):
        sentences: Iterator[Tensor] = iter([torch.from_numpy(text.tokens).long()])
    else:
        sentences = (text[index]["target"] for index in range(len(text)))
    return CopyNoise(
        task.noise_plan,
        task.cfg.seed,
        _pipelines(task.noise_plan, {"target": task.dictionary}, {"target": sentences}),
        padding=task.dictionary.pad(),
        decoder_input="src_tokens",
    )


def _pipelines(
    plan: NoisePlan, dictionaries: Mapping[str, Dictionary], texts: Mapping[str, Iterator[Tensor]]
) -> dict[str, NoisePipeline]:
    pipelines = {}
    for side, dictionary in dictionaries.items():
        policy = plan.policies[side]
        if policy:
            vocabulary, bigrams = vocabulary_from(dictionary, plan.by_token), None
            if policy.any_of("bigram", "bigram-labels"):
                bigrams = bigram_statistics(texts[side], len(dictionary), vocabulary.protected)
            pipelines[side] = NoisePipeline(policy, vocabulary, plan.variation, bigrams)
    return pipelines


def with_sampled_subwords(task, pairs: LanguagePairDataset) -> LanguagePairDataset | SampledPairs:
    """Return the training set, wrapped if a side of it samples subwords.

    Args:
        task: a task with ``noise_plan``, ``replica_plan`` and dictionaries.
        pairs: its training set.

    Raises:
        ValueError: one sentence, if a model does not fit its dictionary.
    """
    plan = task.noise_plan
    samplers = {side: _sampler(plan, side, dic) for side, dic in _dictionaries(task).items()}
    if not any(samplers.values()):
        return pairs
    return SampledPairs(
        pairs,
        samplers["source"],
        samplers["target"],
        replicas=task.replica_plan.made_on(0),
        seed=task.cfg.seed,
        clean_replica=plan.variation.clean,
    )


def vocabulary_from(dictionary: Dictionary, by_token: bool) -> Vocabulary:
    """Return what noise has to know of a fairseq dictionary; ``by_token`` ignores subword marks."""
    return vocabulary_of(
        dictionary.symbols,
        dictionary.count,
        dictionary.nspecial,
        dictionary.pad(),
        dictionary.unk(),
        by_token,
    )


def _after_end_of_sentence(sentences) -> Iterator[Tensor]:
    """Yield each sentence after its own end, as a decoder reads it, so that first words count too.

    By index: fairseq's data sets need not stop a loop over them.
    """
    for index in range(len(sentences)):
        sentence = sentences[index]
        yield torch.cat([sentence[-1:], sentence])


def _dictionaries(task) -> dict[str, Dictionary]:
    return {"source": task.source_dictionary, "target": task.target_dictionary}


def _sampler(plan: NoisePlan, side: str, dictionary: Dictionary) -> SubwordSampler | None:
    strength = plan.policies[side]["subword"]
    if not strength:
        return None
    return SubwordSampler(
        plan.subword_models[side],
        dictionary.symbols,
        strength,
        nbest=plan.subword_nbest,
        flag=f"{FLAG[side]} subword={strength:g}",
    )
