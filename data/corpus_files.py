"""Write a corpus folder whole or not at all, and report failures in one line.

Shared by the scripts of this folder; standard library only. A script is ``main(arguments) -> str``
run by :func:`command`: the text it returns is printed, a :class:`CorpusError` becomes one line on
standard error and exit code 1.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SPLITS = ("train", "valid", "test")
README = "README.txt"


class CorpusError(ValueError):
    """What was given or found, what is wrong with it, and what to do, in one line."""


def cache_folder() -> Path:
    """Return ``$XDG_CACHE_HOME/fairseq_bas``, or ``~/.cache/fairseq_bas`` where it is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairseq_bas"


def existing_readme(out: Path, names: Sequence[str]) -> str | None:
    """Return the README of a corpus that is there already.

    A folder that holds something else is refused, so that no file of the user is ever replaced.

    Args:
        out: the folder asked for.
        names: the file names of the corpus; its README is expected beside them.

    Returns:
        The text, or None where the folder does not exist or is empty.

    Raises:
        CorpusError: the path is no folder, or holds files but not the whole corpus.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise CorpusError(f"{out} is a file; give a folder that does not exist yet with --out")
    if all((out / name).is_file() for name in (*names, README)):
        return (out / README).read_text(encoding="utf-8")
    if any(out.iterdir()):
        raise CorpusError(f"{out} holds other files; remove it or give another folder with --out")
    return None


def publish(out: Path, files: Mapping[str, Sequence[str]], summary: str) -> str:
    """Write text files and a README into a folder that appears only when they are complete.

    Everything goes to a temporary folder beside ``out``, which is then renamed: an interrupted
    call leaves no ``out`` behind. Where ``out`` has the same README already, nothing is done.

    Args:
        out: folder to create; must not exist, be empty, or hold this very corpus.
        files: lines (without line ends) by file name.
        summary: text of the README; names all settings that shape the files.

    Returns:
        The summary and where it is, or one line saying that there was nothing to do.

    Raises:
        CorpusError: the folder holds something else, or cannot be written.
    """
    readme = existing_readme(out, list(files))
    if readme == f"{summary}\n":
        return already(out)
    if readme is not None:
        raise CorpusError(f"{out} was made with other settings; remove it or give another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            folder = Path(scratch) / "corpus"
            folder.mkdir()
            for name, lines in files.items():
                _write(folder / name, "".join(f"{line}\n" for line in lines))
            _write(folder / README, f"{summary}\n")
            if out.is_dir():
                out.rmdir()  # refuses a folder that is not empty
            folder.rename(out)
    except OSError as error:
        reason = error.strerror or error
        raise CorpusError(f"cannot write {out}: {reason}; give another --out") from error
    return f"{summary}\nwritten to {out}"


def already(out: Path) -> str:
    """Return the line that says that the corpus is there."""
    return f"{out} is complete already, nothing to do; remove it to make it anew"


def _write(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, the same bytes on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def count_words(lines: Sequence[str]) -> int:
    """Return the number of words, separated by white space, of all lines.

    >>> count_words(["a b", "c"])
    3
    """
    return sum(len(line.split()) for line in lines)


def command(main: Callable[[Sequence[str] | None], str]) -> None:
    """Run a script, print what it returns, and turn its failure into one line and exit code 1.

    Args:
        main: takes the command line (None: that of the process), returns the text to print.
    """
    try:
        print(main(None))
    except CorpusError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted, nothing was written", file=sys.stderr)
        raise SystemExit(130) from None
