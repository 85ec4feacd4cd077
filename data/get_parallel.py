"""Make the raw text of a published translation task: train, valid and test, each .src and .tgt.

    python data/get_parallel.py wmt14_en_de --downloads DIR --out DIR
    python data/get_parallel.py wmt16_en_de --downloads DIR --out DIR
    python data/get_parallel.py iwslt14_de_en --downloads DIR --out DIR

Downloads are those of ``sources.py``; archives are read member by member, by name, and nothing is
unpacked to the disk. newstest sets come through sacreBLEU, which compares them with MD5 sums of its
own. ``test1`` is a second test set.
"""

import argparse
import html
import itertools
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import corpus_files
import sources
from corpus_files import CorpusError
from fetch_archive import fetch_archive
from sources import Archive

SIDES = ("src", "tgt")
WMT_TRAIN = (
    (sources.EUROPARL_V7, "training/europarl-v7.de-en"),
    (sources.COMMON_CRAWL, "commoncrawl.de-en"),
)
NEWS = {
    "wmt14_en_de": (sources.NEWS_COMMENTARY_V9, "training/news-commentary-v9.de-en"),
    "wmt16_en_de": (
        sources.NEWS_COMMENTARY_V11,
        "training-parallel-nc-v11/news-commentary-v11.de-en",
    ),
}
TEST_SETS = {
    "wmt14_en_de": {"valid": "wmt13", "test": "wmt14/full"},
    "wmt16_en_de": {"valid": "wmt13", "test": "wmt14/full", "test1": "wmt16"},
}
IWSLT14_TESTS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
IWSLT14_LINES = {"train": 174443, "test": 6750}
"""As in fairseq's log (issue 1493) and in the papers that use this split."""
IWSLT14_VALID = 23
"""Every 23rd pair of the training text, as in fairseq's prepare-iwslt14.sh; ``clean_pairs.py``."""

_HEADER = re.compile(r"<(?:url|talkid|keywords)>")
_TITLE = re.compile(r"</?(?:title|description)>")
_SEGMENT = re.compile(r'<seg id="[0-9]+">\s*(.*?)\s*</seg>')


def read_member(archive: tarfile.TarFile, name: str) -> Iterator[str]:
    """Yield the lines of a text file in an archive; links are not followed.

    Raises:
        CorpusError: the archive has no such file.
    """
    member = next((m for m in archive if m.name.removeprefix("./") == name), None)
    file = archive.extractfile(member) if member is not None and member.isreg() else None
    if file is None:
        raise CorpusError(f"{archive.name} has no file {name}; remove it to download it again")
    for line in file:
        yield line.decode("utf-8").rstrip("\r\n")


def write_pairs(pairs: Mapping[str, Iterable[str]], files: Mapping[str, IO[str]]) -> int:
    """Write both sides of a text.

    Args:
        pairs: lines by side.
        files: open files by side.

    Returns:
        The number of pairs.

    Raises:
        CorpusError: the sides have different numbers of lines.
    """
    count = 0
    for source, target in itertools.zip_longest(pairs["src"], pairs["tgt"]):
        if source is None or target is None:
            raise CorpusError(
                f"after {count} pairs one side has no more lines; remove the download"
            )
        files["src"].write(f"{' '.join(source.split())}\n")
        files["tgt"].write(f"{' '.join(target.split())}\n")
        count += 1
    return count


def write_split(out: Path, split: str, texts: Iterable[Mapping[str, Iterable[str]]]) -> int:
    """Write the texts of a split one after the other; return the number of pairs."""
    with ExitStack() as stack:
        files = {
            side: stack.enter_context(
                (out / f"{split}.{side}").open("w", encoding="utf-8", newline="\n")
            )
            for side in SIDES
        }
        return sum(write_pairs(pairs, files) for pairs in texts)


def wmt(name: str, out: Path, fetch: Callable[[Archive], Path]) -> dict[str, int]:
    """Write English to German news translation; return the number of pairs of each split."""

    def texts() -> Iterator[dict[str, Iterator[str]]]:
        for archive, prefix in (*WMT_TRAIN, NEWS[name]):
            path = fetch(archive)
            with tarfile.open(path) as source, tarfile.open(path) as target:
                yield {
                    "src": read_member(source, f"{prefix}.en"),
                    "tgt": read_member(target, f"{prefix}.de"),
                }

    counts = {"train": write_split(out, "train", texts())}
    for split, test_set in TEST_SETS[name].items():
        counts[split] = write_split(out, split, [from_sacrebleu(test_set, "en-de")])
    return counts


def from_sacrebleu(test_set: str, pair: str) -> dict[str, list[str]]:
    """Return a test set by sacreBLEU's name for it.

    Raises:
        CorpusError: it could not be had.
    """
    from sacrebleu import utils  # which reads the variable SACREBLEU, see main

    try:
        paths = [
            utils.get_source_file(test_set, pair),
            utils.get_reference_files(test_set, pair)[0],
        ]
        texts = [Path(path).read_text(encoding="utf-8").removesuffix("\n") for path in paths]
    except (Exception, SystemExit) as error:
        raise CorpusError(
            f"sacreBLEU could not supply the test set {test_set} ({' '.join(str(error).split())}); "
            "check the network, or name a folder that has it by the variable SACREBLEU"
        ) from None
    return {side: text.split("\n") for side, text in zip(SIDES, texts, strict=True)}


def iwslt14(name: str, out: Path, fetch: Callable[[Archive], Path]) -> dict[str, int]:
    """Write German to English talks; valid is split off when the text is cleaned."""
    languages = dict(zip(SIDES, ("de", "en"), strict=True))
    with tarfile.open(fetch(sources.IWSLT14_DE_EN)) as archive:
        train = {
            side: (
                _TITLE.sub("", line)
                for line in list(read_member(archive, f"de-en/train.tags.de-en.{language}"))
                if not _HEADER.search(line)
            )
            for side, language in languages.items()
        }
        tests = [
            {
                side: segments(read_member(archive, f"de-en/IWSLT14.{test}.de-en.{language}.xml"))
                for side, language in languages.items()
            }
            for test in IWSLT14_TESTS
        ]
    counts = {"train": write_split(out, "train", [train]), "test": write_split(out, "test", tests)}
    for split, count in counts.items():
        if count != IWSLT14_LINES[split]:
            raise CorpusError(
                f"{split} has {count} pairs instead of {IWSLT14_LINES[split]}, so the archive is "
                "another one than that of the published results; remove it"
            )
    return counts


def segments(lines: Iterable[str]) -> list[str]:
    """Return the sentences of a test set in XML.

    >>> segments(['<doc>', '<seg id="1"> Q &amp; A </seg>'])
    ['Q & A']
    """
    found = (_SEGMENT.search(line) for line in lines)
    return [html.unescape(match[1]).replace("’", "'") for match in found if match]


TASKS = {"wmt14_en_de": wmt, "wmt16_en_de": wmt, "iwslt14_de_en": iwslt14}


def main(arguments: Sequence[str] | None) -> str:
    """Write the raw text and return its sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--downloads", type=Path, required=True, help="folder of the archives")
    parser.add_argument(
        "--mirror", action="append", default=[], help="URL of a folder to try before others"
    )
    args = parser.parse_args(arguments)

    def fetch(archive: Archive) -> Path:
        print(f"{archive.name}: {archive.about}")
        return fetch_archive(archive, args.downloads, args.mirror)

    # sacreBLEU takes a download that was cut off for a whole one, so its own folder is used only
    # where the user names it.
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("SACREBLEU", scratch)
        try:
            args.out.mkdir(parents=True)
            counts = TASKS[args.task](args.task, args.out, fetch)
        except (OSError, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
            raise CorpusError(
                f"{args.task} could not be made ({error}); if it is an archive that is damaged, "
                f"remove it and its .sha256 in {args.downloads}"
            ) from error
    return ", ".join(f"{count} pairs in {split}" for split, count in counts.items())


if __name__ == "__main__":
    corpus_files.command(main)
