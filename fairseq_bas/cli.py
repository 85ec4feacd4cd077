"""The command line: ``fairseq-bas <command>`` and ``python -m fairseq_bas <command>``.

A command is one module. Its docstring begins with the line shown by ``--help``; it has
``add_arguments(parser)`` and ``run(args) -> int``, which returns the exit code and raises
``ValueError`` or ``OSError`` for what the user can mend. Only the module of the command that was
asked for is imported. If it has a true ``TAKES_OTHER_FLAGS``, what its arguments do not name is in
``args.other_flags``.

Exit codes: 0 success, 1 refused input, 2 wrong usage, 130 interrupted, 141 reader went away.
"""

import argparse
import ast
import importlib
import importlib.util
import io
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from .errors import UserError
from .version import __version__

PROG = "fairseq-bas"

COMMANDS = {
    "check": "fairseq_bas.tool.check",
    "plan": "fairseq_bas.tool.plan",
    "perplexity": "fairseq_bas.tool.perplexity",
    "score": "fairseq_bas.tool.score",
    "average": "fairseq_bas.tool.average",
    "report": "fairseq_bas.tool.report",
    "sharpness": "fairseq_bas.tool.sharpness",
    "landscape": "fairseq_bas.tool.landscape",
    "hessian": "fairseq_bas.tool.hessian",
    "noise-scale": "fairseq_bas.tool.noise_scale",
    "replica-variance": "fairseq_bas.tool.replica_variance",
}
"""Command name -> module, in the order of ``--help``."""


def summary(module: str) -> str:
    """Return the first line of a module's docstring without importing the module.

    Args:
        module: dotted name of a module that has source.

    Returns:
        The line, without its full stop.

    Example:
        >>> summary("fairseq_bas.tool.score")
        'Score translations with sacreBLEU, chrF and TER, and test systems against the first'
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no module named {module!r}", name=module)
    with open(spec.origin, encoding="utf-8") as source:
        docstring = ast.get_docstring(ast.parse(source.read())) or ""
    return docstring.partition("\n")[0].rstrip(".")


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser: every command is listed, only one has its arguments.

    Args:
        command: the command whose module is imported and asked for its arguments; None, or a
            name that is no command, for none.

    Returns:
        The parser. A parsed ``command`` is a key of ``COMMANDS``.
    """
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Tools of fairseq_bas: batch augmentation and schedules for fairseq.",
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="<command>", required=True)
    for name, module in COMMANDS.items():
        line = summary(module).replace("%", "%%")
        subparser = subparsers.add_parser(name, help=line, description=f"{line}.")
        if name == command:
            importlib.import_module(module).add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments after the program's name; those of the process by default.

    Returns:
        The exit code.

    Raises:
        SystemExit: by argparse, with code 2 for wrong usage and 0 after ``--help``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # No option before the command takes a value, so the first word is the command.
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = make_parser(command)
    args, other_flags = parser.parse_known_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, format=f"{PROG} {args.command}: %(levelname)s: %(message)s"
    )
    module = importlib.import_module(COMMANDS[args.command])
    if getattr(module, "TAKES_OTHER_FLAGS", False):
        args.other_flags = other_flags
    elif other_flags:
        parser.error(f"unrecognized arguments: {' '.join(other_flags)}")
    return _run_at_the_edge(module, args)


def _run_at_the_edge(module: ModuleType, args: argparse.Namespace) -> int:
    """Run a command and turn what the user can mend into one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may not fit the locale
    try:
        exit_code: int = module.run(args)
        sys.stdout.flush()
        return exit_code
    except BrokenPipeError:
        # The interpreter flushes standard output once more at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, UserError) as error:
        print(f"{PROG} {args.command}: {_one_line(error)}", file=sys.stderr)
        return 1


def _one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks and without an errno."""
    if isinstance(error, OSError) and error.strerror:
        prefix = f"{error.filename}: " if error.filename else ""
        return f"{prefix}{error.strerror}"
    return " ".join(str(error).split())
