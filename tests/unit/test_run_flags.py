"""Flags from the line in which fairseq logs its config, against Python's own reading."""

import ast
from argparse import Namespace

import pytest

from fairseq_bas.tool.python_repr import parse_repr
from fairseq_bas.tool.run_flags import differing_flags, flags_of, parse_config
from tests.run_logs import CONFIG


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2.5, None, True], "b": {"c": "it's", "d": 'say "x"', "e": "a\\b\n"}},
        [],
        {},
        "x, y: {z}",
        {"lr": [0.1], "betas": "(0.9, 0.98)", "empty": "", "umlaut": "Grüße\u2028"},
        [float("inf"), -float("inf"), 1e-300, 10**30],
    ],
)
def test_reads_what_python_prints(value):
    assert parse_repr(repr(value)) == value


def test_tuples_namespaces_and_bare_words():
    text = "{'t': (1, 2), 'n': Namespace(a=pass, b=[x-y]), 'e': <Side.source: 'source'>}"
    assert parse_repr(text) == {
        "t": [1, 2],
        "n": Namespace(a="pass", b=["x-y"]),
        "e": "<Side.source: 'source'>",
    }


@pytest.mark.parametrize(
    "text",
    ["{", "{'a'}", "{'a': 1} {}", "['a", "[1 2]", "[" * 200 + "]" * 200, "", "{'a': }", "'\\x'"],
)
def test_other_text_is_refused(text):
    with pytest.raises((ValueError, SyntaxError)):
        parse_repr(text)
    assert parse_config(text) == {}


def test_nothing_is_called(tmp_path):
    target = tmp_path / "made"
    parse_config(f"{{'common': {{'x': open('{target}', 'w')}}}}")
    assert not target.exists()


def test_flags_of_a_config():
    flags = parse_config(CONFIG % {"seed": 3, "max_update": 100, "lr": 0.5})
    assert flags["seed"] == 3 and flags["lr"] == [0.5] and flags["arch"] == "lstm"
    assert flags["task"] == "bas_translation" and flags["bas_forward_masks"] == "pass"
    assert "_name" not in flags
    assert flags_of(Namespace(arch="lstm", lr=[1])) == {"arch": "lstm", "lr": [1]}
    assert flags_of(None) == {}


def test_only_flags_that_differ_are_listed_and_paths_last():
    runs = [{"lr": [1], "save_dir": "a", "x": 1}, {}, {"lr": [2], "save_dir": "b", "x": 1, "z": 0}]
    assert differing_flags(runs) == [
        ("lr", ["1", None, "2"]),
        ("z", [None, None, "0"]),
        ("save_dir", ["a", None, "b"]),
    ]
    assert ast.literal_eval(repr(runs)) == runs  # left as they were
