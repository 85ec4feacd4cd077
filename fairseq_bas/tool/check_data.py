"""The data of a run: are its files whole, do they fit their dictionaries, what do they hold?"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.corpus_files import Corpus, find_corpora
from ..data.corpus_scan import KINDS, Seen, SplitCounts, scan_held_out, scan_train
from ..data.dictionary_file import verify_dictionary
from ..data.integrity import verify_monolingual_split, verify_split
from ..data.token_file import TokenFile
from .check_data_rules import corpus_findings, dictionary_findings, overlap_of
from .check_data_table import split_facts, split_lines
from .check_findings import Finding, Section, note, warning
from .progress import Progress

SPECIAL_SYMBOLS = 4
"""Entries of every dictionary that are not in its file."""


@dataclass
class CheckedCorpus:
    """Hold what is known of a corpus.

    Attributes:
        corpus: its files.
        vocabularies: entries of each side's dictionary, special symbols included.
        counts: of the splits that are whole, by name.
    """

    corpus: Corpus
    vocabularies: dict[str, int] = field(default_factory=dict)
    counts: dict[str, SplitCounts] = field(default_factory=dict)


def check_data(directory: str) -> tuple[Section, list[CheckedCorpus]]:
    """Check all data sets of a folder.

    Args:
        directory: written by ``fairseq-preprocess``.

    Returns:
        What was found, and the corpora.
    """
    section = Section(f"data {directory}")
    checked: list[CheckedCorpus] = []
    with section.refusals():
        for corpus in find_corpora(directory):
            checked.append(_check_corpus(corpus, section))
    return section, checked


def _check_corpus(corpus: Corpus, section: Section) -> CheckedCorpus:
    checked = CheckedCorpus(corpus)
    for language in corpus.languages or ("",):
        with section.refusals():
            entries = verify_dictionary(corpus.directory, language or None)
            checked.vocabularies[language] = entries + SPECIAL_SYMBOLS
    section.add(_missing_splits(corpus))
    whole = {
        name: files
        for name, parts in corpus.splits.items()
        if (files := _whole_parts(corpus, parts, checked.vocabularies, section))
    }
    if len(checked.vocabularies) == len(corpus.dictionaries):
        with section.refusals():
            _scan(checked, whole)
        _describe(checked, section)
    return checked


def _missing_splits(corpus: Corpus) -> list[Finding]:
    found: list[Finding] = []
    if "train" not in corpus.splits:
        found.append(
            warning(
                f"{corpus.directory} has no train split of {corpus.name}, so nothing can be "
                "trained on it; pass --trainpref to fairseq-preprocess"
            )
        )
    elif "valid" not in corpus.splits:
        found.append(
            warning(
                f"{corpus.directory} has no valid split of {corpus.name}, and fairseq-train "
                "refuses that without --disable-validation; pass --validpref to "
                "fairseq-preprocess"
            )
        )
    return found


def _whole_parts(
    corpus: Corpus, parts: list[str], vocabularies: Mapping[str, int], section: Section
) -> list[list[TokenFile]]:
    """Return the files of a split, none if a part is refused or cannot be looked into."""
    files = []
    for part in parts:
        count = None
        with section.refusals():
            if corpus.languages:
                source, target = corpus.languages
                need_target = part.startswith(("train", "valid"))
                count = verify_split(
                    *(corpus.directory, part, source, target),
                    require_target=need_target,
                    vocabularies=vocabularies,
                )
            else:
                size = vocabularies.get("")
                count = verify_monolingual_split(corpus.directory, part, size)
            if count is None:
                section.add(
                    [
                        note(
                            f"{part} of {corpus.directory} is not memory-mapped and was not "
                            "looked into; binarise it with --dataset-impl mmap to have it checked"
                        )
                    ]
                )
        if count is None:
            return []
        files.append([TokenFile(prefix) for prefix in corpus.prefixes(part)])
    return files


def _scan(checked: CheckedCorpus, whole: Mapping[str, list[list[TokenFile]]]) -> None:
    """Count every split, the training set last, which is searched for the others' sentences."""
    corpus = checked.corpus
    sizes = [checked.vocabularies[language] for language in corpus.languages or ("",)]
    shared = _is_shared(corpus.dictionaries)
    train = whole.get("train", [])
    for name, parts in whole.items():
        if name != "train":
            [files] = parts
            with Progress(f"check {corpus.name} {name}", "sentences", len(files[0])) as progress:
                counts = scan_held_out(files, sizes, shared, progress.reach)
            checked.counts[name] = counts
    seen = {}
    for kind in KINDS:
        known = [counts.hashes[kind] for counts in checked.counts.values() if kind in counts.hashes]
        if known:
            seen[kind] = Seen(np.concatenate(known))
    if train:
        total = sum(len(files[0]) for files in train)
        with Progress(f"check {corpus.name} train", "sentences", total) as progress:
            counts = scan_train(train, sizes, shared, seen, progress.reach)
        held_out, checked.counts = checked.counts, {"train": counts}
        for name, other in held_out.items():
            other.seen = {kind: seen[kind].count(other.hashes[kind]) for kind in other.hashes}
            checked.counts[name] = other


def _describe(checked: CheckedCorpus, section: Section) -> None:
    corpus, counts = checked.corpus, checked.counts
    is_text = not corpus.languages
    section.facts[corpus.name] = {
        "dictionaries": checked.vocabularies,
        "splits": {name: split_facts(split) for name, split in counts.items()},
    }
    sizes = ", ".join(
        f"{path.name} {size:,} entries"
        for path, size in zip(corpus.dictionaries, checked.vocabularies.values(), strict=True)
    )
    section.lines += [f"{corpus.name}: {sizes} with special symbols", *split_lines(counts)]
    section.add(corpus_findings(counts, is_text))
    names = [name for name in counts if name != "train"]
    for first, name in enumerate(names):
        for other in names[first + 1 :]:
            section.add(overlap_of(name, counts[name], other, counts[other]))
    if "train" in counts:
        with section.refusals():
            section.add(dictionary_findings(corpus.dictionaries, counts["train"]))


def _is_shared(dictionaries: list[Path]) -> bool:
    """Tell whether both sides have the same dictionary."""
    contents = [path.read_bytes() for path in dictionaries]
    return len(contents) > 1 and contents[0] == contents[1]


def directories_of(data: str) -> list[str]:
    """Return the folders of a data argument, which may name several.

    >>> directories_of(f"a{os.pathsep}b")
    ['a', 'b']
    """
    return [part for part in data.split(os.pathsep) if part]
