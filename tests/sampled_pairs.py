"""Toy pairs of sentences whose segmentations are sampled."""

import random
from pathlib import Path

from fairseq.data import Dictionary, LanguagePairDataset, ListDataset

from fairseq_bas.data.sampled_pairs import SampledPairs
from fairseq_bas.noise.subword import SubwordSampler
from tests.subword_models import processor_of, toy_grammar, train

SENTENCES = 60
Corpus = tuple[SubwordSampler, Dictionary, list, list]


def make_corpus(folder: Path) -> Corpus:
    """Return a sampler, its dictionary, and source and target sentences in ids."""
    rng = random.Random(2)
    drawn = [toy_grammar.draw_sentence(rng) for _ in range(SENTENCES)]
    sides = [[s.source() for s in drawn], [s.target() for s in drawn]]
    model = train(folder, "spm", sides[0] + sides[1], 150, "unigram")
    processor = processor_of(model)
    dictionary = Dictionary()
    for i in range(3, len(processor)):
        dictionary.add_symbol(processor.id_to_piece(i))
    source, target = (
        [
            dictionary.encode_line(" ".join(processor.encode(line, out_type=str))).long()
            for line in side
        ]
        for side in sides
    )
    sampler = SubwordSampler(model, dictionary.symbols, 0.2, flag="--sub")
    return sampler, dictionary, source, target


def base_pairs(corpus, **kwargs) -> LanguagePairDataset:
    _, dictionary, source, target = corpus
    sizes = [[len(ids) for ids in side] for side in (source, target)]
    return LanguagePairDataset(
        ListDataset(source, sizes[0]),
        sizes[0],
        dictionary,
        ListDataset(target, sizes[1]),
        sizes[1],
        dictionary,
        **kwargs,
    )


def pairs_of(corpus, replicas=range(3), *, seed=1, clean=False, sides="st", **kwargs):
    source, target = (corpus[0] if side in sides else None for side in "st")
    return SampledPairs(base_pairs(corpus, **kwargs), source, target, replicas, seed, clean)


def listed(copies: list[dict]) -> list[tuple[list, list]]:
    return [(copy["source"].tolist(), copy["target"].tolist()) for copy in copies]
