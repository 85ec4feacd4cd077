"""Flags in the code, in the generated table, in ``--help`` and in the documentation agree."""

import re

import pytest

from tests.documented import PAGES, ROOT, flags, mentioned, shown, text_of
from tests.documented_flags import (
    Refused,
    check_command,
    known_flags,
    registered_flags,
)
from tests.in_process import config_of

SECTION = re.compile(r"^## `(--\S+ \S+)`\n\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(--\S+)` \| (?:`(.*?)`)? ?\| (.*) \|$", re.MULTILINE)
PARTS = {
    "--task": "task",
    "--arch": "model",
    "--criterion": "criterion",
    "--optimizer": "optimizer",
    "--lr-scheduler": "lr_scheduler",
}
"""Option that names a component -> where fairseq's config has its flags."""


@pytest.fixture(scope="module")
def table():
    """The page: registered name -> flag -> (default, meaning)."""
    return {
        name: {flag: (default, meaning) for flag, default, meaning in ROW.findall(rows)}
        for name, rows in SECTION.findall(text_of("docs/flags.md"))
    }


def test_the_table_has_every_flag_with_the_text_of_help(table):
    registered = registered_flags()
    assert set(table) == {name for name, actions in registered.items() if actions}
    assert sum(map(len, table.values())) > 120
    for name, actions in registered.items():
        rows = table.get(name, {})
        assert set(rows) == set(actions), name
        for flag, action in actions.items():
            meaning = rows[flag][1].replace("\\|", "|")
            assert meaning == action.help, flag
            # What --help prints; argparse takes a lone % for a placeholder.
            assert meaning == action.help % {"default": action.default}, flag


def test_the_table_has_the_defaults_that_a_run_has(table):
    names = {option: [n.split()[1] for n in table if n.startswith(option)] for option in PARTS}
    names["--task"].sort()  # language modelling first, with its architecture
    assert names["--task"][0] == "bas_language_modeling" and names["--arch"][0].endswith("_lm")
    compared = set()
    for turn in range(max(map(len, names.values()))):
        run = {option: values[turn % len(values)] for option, values in names.items()}
        config = config_of(["DATA", *(word for pair in run.items() for word in pair)])
        for option, value in run.items():
            for flag, (default, _) in table[f"{option} {value}"].items():
                used = config[PARTS[option]][flag.removeprefix("--").replace("-", "_")]
                assert default == ("" if used is None else str(used)), (option, value, flag)
            compared.add(f"{option} {value}")
    assert compared == set(table)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/flags.md"])
def test_every_command_that_a_page_shows_is_taken_by_its_program(page):
    for place, command in shown(page):
        try:
            check_command(command)
        except Refused as refused:
            raise AssertionError(f"{place}: {refused}") from None
    for command in mentioned(page):
        if command[0] == "fairseq-bas" and command[1] != "...":
            check_name = {word for word in command if word.startswith("--")} - known_flags()
            assert not check_name, (page, command)


def test_the_pages_show_enough_commands_for_the_check_to_mean_something():
    found = [command for page in PAGES for _, command in shown(page)]
    programs = [command[0] for command in found]
    assert programs.count("fairseq-train") >= 5
    assert programs.count("fairseq-bas") >= 15


@pytest.mark.parametrize(
    "command",
    [
        "fairseq-train data-bin --arch transformer --bas-replicas 2 --task translation",
        "fairseq-train data-bin ... --bas-replica 2",
        "fairseq-train data-bin --task bas_translation",
        "--bas-source-noise drop=0.1 --bas-nothing",
        "fairseq-generate data-bin --path a.pt --beams 5",
        "fairseq-bas score --ref a b --nothing",
        "fairseq-bas nothing a",
        "fairseq-bas plan DATA ... --bas-nothing 1",
        "scripts/launch.sh --workers 4 -- data-bin ... --bas-nothing 1",
        "bash scripts/quickstart.sh --nothing 1",
        "bash scripts/nothing.sh",
    ],
)
def test_wrong_commands_are_found(command):
    with pytest.raises(Refused):
        check_command(command.split())


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md"])
def test_every_flag_that_a_page_names_exists(page):
    assert not flags(text_of(page)) - known_flags()


def test_every_flag_of_ours_in_the_sources_is_registered():
    registered = {flag for actions in registered_flags().values() for flag in actions}
    paths = [
        path
        for folder in ("fairseq_bas", "scripts", "data", "docs", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sh", ".txt", ".sbatch")
    ]
    assert len(paths) > 300
    unknown = {}
    for path in paths:
        # Not the beginning of a flag, --bas-{name} in a text that is put together.
        text = re.sub(r"--bas-[\w-]*\{[^}]*\}[\w-]*", "", path.read_text(encoding="utf-8"))
        named = {flag for flag in flags(text) if re.fullmatch(r"--bas-[\w-]*\w", flag)}
        if named - registered:
            unknown[str(path.relative_to(ROOT))] = sorted(named - registered)
    assert unknown == {}
