"""Compare what is in the wheel and the source distribution with the repository."""

import argparse
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("fairseq_bas", "data", "docs", "scripts", "tests")
FILES = (
    ".ci/run",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "setup.py",
)
COMPILED = ("__pycache__", ".pyc")


def sources(root: Path, folders: tuple[str, ...]) -> set[str]:
    """Return the files below some folders, relative to the repository, without compiled ones.

    Args:
        root: of the repository.
        folders: in it.
    """
    paths = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    names = (path.relative_to(root).as_posix() for path in paths)
    return {name for name in names if not any(part in name for part in COMPILED)}


def contents(path: Path) -> set[str]:
    """Return the files in a wheel or a source distribution, the latter without its first folder.

    Args:
        path: ``.whl`` or ``.tar.gz``.
    """
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {name for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def problems(root: Path, path: Path) -> Iterator[str]:
    """Yield what a distribution lacks, and what it has too much of, in sentences.

    Args:
        root: of the repository.
        path: of the distribution.
    """
    found = contents(path)
    is_wheel = path.suffix == ".whl"
    wanted = sources(root, FOLDERS[:1]) if is_wheel else sources(root, FOLDERS) | set(FILES)
    missing = sorted(wanted - {name for name in wanted if name in found or "data/cache/" in name})
    if missing:
        yield f"{path.name} lacks {len(missing)} files, such as {', '.join(missing[:5])}"
    made = (".dist-info/", ".egg-info/", "PKG-INFO", "setup.cfg", "MANIFEST.in")
    extra = sorted(name for name in found - wanted if not any(part in name for part in made))
    if extra:
        yield f"{path.name} holds {len(extra)} other files, such as {', '.join(extra[:5])}"
    if is_wheel and not any(name.endswith(".dist-info/entry_points.txt") for name in found):
        yield f"{path.name} installs no command"


def main() -> int:
    """Print a line for each distribution; return 1 if one of them is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="of the repository")
    parser.add_argument("distributions", type=Path, nargs="+", metavar="FILE")
    args = parser.parse_args()
    found = [sentence for path in args.distributions for sentence in problems(args.root, path)]
    for sentence in found:
        print(sentence, file=sys.stderr)
    if not found:
        for path in args.distributions:
            print(f"   {path.name}: {len(contents(path))} files, all that belong there")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
