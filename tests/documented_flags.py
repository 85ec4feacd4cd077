"""Whether a command line that the documentation shows is one that its program takes.

The real parsers judge: fairseq's, with the plugin registered, and those of ``fairseq-bas``. Of
other programs only the files and the names of the options are looked at.
"""

import argparse
import functools
import importlib
import re
from collections.abc import Sequence

from fairseq import options
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY

from fairseq_bas import cli
from tests.documented import ROOT, flags

ANY_RUN = [
    *("--arch", "transformer_iwslt_de_en", "--task", "bas_translation", "--optimizer", "adam"),
    *("--criterion", "bas_cross_entropy", "--max-tokens", "4096"),
]
"""What ``...`` and ``<the flags of fairseq-train>`` stand for; flags that are shown come after."""

PARSERS = {
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": options.get_interactive_generation_parser,
    "fairseq-validate": options.get_validation_parser,
    "fairseq-eval-lm": options.get_eval_lm_parser,
    "fairseq-preprocess": options.get_preprocessing_parser,
}
ARCHITECTURES = ("transformer", "lstm", "lstm_lm", "transformer_lm")
OTHERS = {
    "--signals_to_handle": "torchrun",
    "--signal": "sbatch",
    "--array": "sbatch",
    "--nodes": "sbatch",
    "--gpus-per-node": "sbatch",
    "--mini-batch-track-lr": "Marian",
    "--triangle-updates": "docs/extension",
    "--bas-": "the prefix of all of ours",
}
"""What pages name beyond the flags of fairseq and of this repository -> whose it is."""


class Refused(AssertionError):
    """A program would not take a command line."""


def check_command(words: Sequence[str]) -> None:
    """Parse one command as its program does.

    Args:
        words: the program and its arguments; flags alone are those of ``fairseq-train``.

    Raises:
        Refused: with what the parser says.
    """
    program, *arguments = words
    if program.startswith("--"):
        program, arguments = "fairseq-train", ["...", *words]
    if program in PARSERS:
        _parse(program, ["DATA", *arguments] if arguments[:1] == ["..."] else arguments)
    elif program == "fairseq-bas":
        _parse_ours(arguments)
    elif "--" in arguments:  # scripts/launch.sh hands what follows to fairseq-train
        cut = arguments.index("--")
        _look_up([program, *arguments[:cut]])
        _parse("fairseq-train", arguments[cut + 1 :])
    else:
        _look_up(words)


def _parse(program: str, arguments: Sequence[str]) -> None:
    base = ANY_RUN if "..." in arguments else []
    given = [*base, *(word for word in arguments if word != "...")]
    if "docs/extension" in given:  # what it registers would stay; another test trains with it
        own = {"docs/extension": "fairseq_bas", "triangle_lr": "fixed"}
        own["--triangle-updates"] = "--warmup-updates"
        given = [own.get(word, word) for word in given]
    parser = PARSERS[program]()
    parser.error = functools.partial(_refuse, program)
    try:
        if program == "fairseq-preprocess":
            parser.parse_args(given)
        else:
            options.parse_args_and_arch(parser, given)
    except RuntimeError as error:  # of fairseq, where there is no --arch
        raise Refused(f"{program}: {error or 'no --arch'}") from error


def _parse_ours(arguments: Sequence[str]) -> None:
    if arguments[0] not in cli.COMMANDS:
        raise Refused(f"fairseq-bas has no command {arguments[0]}")
    parser = cli.make_parser(arguments[0])
    for action in parser._subparsers._group_actions:
        for subparser in action.choices.values():
            subparser.error = functools.partial(_refuse, "fairseq-bas")
    _, others = parser.parse_known_args(list(arguments))
    module = importlib.import_module(cli.COMMANDS[arguments[0]])
    if not getattr(module, "TAKES_OTHER_FLAGS", False):
        if others:
            raise Refused(f"fairseq-bas {arguments[0]} does not know {others}")
    elif len(others) > 1:
        _parse("fairseq-train", others)


def _refuse(program: str, message: str) -> None:
    raise Refused(f"{program}: {message}")


def _look_up(words: Sequence[str]) -> None:
    """Look for the script, and for the names of its options in its text."""
    path = next((word for word in words if word.startswith(("scripts/", "data/"))), None)
    if path is None:
        return
    if not (ROOT / path).is_file():
        raise Refused(f"{path} does not exist")
    script = ROOT / path
    parts = sorted(script.parent.glob(f"{script.stem}*{script.suffix}"))
    text = "".join(part.read_text(encoding="utf-8") for part in parts)
    unknown = flags(" ".join(words)) - flags(text) - _options(text) - {"--help"}
    if unknown:
        raise Refused(f"{path} has no option {', '.join(sorted(unknown))}")


def _options(text: str) -> set[str]:
    """Return the options whose names, without hyphens, are in the text of scripts."""
    names = " ".join(re.findall(r'read_options "([^"]*)"', text)).split()
    table = re.search(r"^GIVEN = \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    if table:  # a loop makes a flag of each key
        names += re.findall(r'^    "(\w+)"', table[1], re.MULTILINE)
    return {f"--{name.replace('_', '-')}" for name in names}


@functools.cache
def known_flags() -> frozenset[str]:
    """Return every flag of fairseq's commands with what is registered, ours, and the scripts'."""
    parsers = [make() for make in PARSERS.values()]
    parsers += [_component(cls) for cls in _components()]
    for command in cli.COMMANDS:
        (action,) = cli.make_parser(command)._subparsers._group_actions
        parsers.append(action.choices[command])
    found = {flag for parser in parsers for flag in parser._option_string_actions}
    for folder in ("scripts", "data"):
        for path in (ROOT / folder).rglob("*.[ps][yh]"):
            text = path.read_text(encoding="utf-8")
            found |= {flag for flag in flags(text) if not flag.startswith("--bas-")}
            found |= _options(text)
    return frozenset(found | set(OTHERS))


def registered_flags() -> dict[str, dict[str, argparse.Action]]:
    """Return the flags that fairseq makes of each registered name of ours.

    Returns:
        ``--task bas_translation`` and the like -> flag -> what argparse has of it; only flags that
        begin with ``--bas-``.
    """
    found = {}
    for option, registry in _registries().items():
        for name, cls in registry.items():
            if name.startswith("bas_"):
                actions = _component(cls)._option_string_actions
                found[f"{option} {name}"] = {
                    flag: action for flag, action in actions.items() if flag.startswith("--bas-")
                }
    return found


def _registries() -> dict[str, dict[str, type]]:
    from fairseq.models import MODEL_REGISTRY

    others = {
        "--" + name.replace("_", "-"): registry["registry"] for name, registry in REGISTRIES.items()
    }
    return {"--task": TASK_REGISTRY, "--arch": MODEL_REGISTRY, **others}


def _components() -> list[type]:
    ours = [
        cls
        for registry in _registries().values()
        for name, cls in registry.items()
        if name.startswith("bas_")
    ]
    theirs = [ARCH_MODEL_REGISTRY[name] for name in ARCHITECTURES]
    theirs += [TASK_REGISTRY[name] for name in ("translation", "language_modeling")]
    theirs += [cls for registry in REGISTRIES.values() for cls in registry["registry"].values()]
    return ours + theirs


def _component(cls: type) -> argparse.ArgumentParser:
    """Return a parser with the flags of one task, model, loss, optimizer or scheduler alone."""
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    parser = argparse.ArgumentParser(allow_abbrev=False)
    if hasattr(cls, "add_args"):
        cls.add_args(parser)
    elif hasattr(cls, "__dataclass"):
        gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")())
    return parser
