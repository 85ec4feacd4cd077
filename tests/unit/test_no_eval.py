"""A program in an option of a checkpoint is refused before it runs; constants stay as they are."""

import ast
import sys

import pytest
import torch
from fairseq import checkpoint_utils, utils
from fairseq.data.fasta_dataset import FastaDataset

from fairseq_bas.resilience.plain_values import plain_value
from tests.in_process import train_here
from tests.toys import tiny_transformer


@pytest.mark.parametrize(
    "text",
    [
        "(0.9, 0.98)",
        "[(512, 3)] * 20",
        "[(512,10,5)] + [(512,3,2)] * 4",
        "True",
        "-1e-3",
        "{'a': [None]}",
    ],
)
def test_constants_read_as_python_reads_them(text):
    assert plain_value(text) == eval(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('x')",
        "[1 for _ in (1,)]",
        "(lambda: 1)()",
        "x",
        "'a' * 9",
        "[0] * 10 ** 9",
        "9 ** 9 ** 9",
        "[[0] * 9999] * 9999 * 9",
        "f'{1}'",
        "1; 2",
        "",
        "(" * 5000,
        "\0",
    ],
)
def test_programs_and_floods_are_refused(text):
    with pytest.raises(ValueError, match="no constant but a program"):
        plain_value(text)


def test_no_module_of_fairseq_reaches_eval():
    """Found by reading their source, which is another way than that of the plugin."""
    callers = []
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not name.startswith("fairseq.") or not path or not path.endswith(".py"):
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if " eval(" in text or "(eval(" in text or "=eval(" in text or "\teval(" in text:
            nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            if any(isinstance(node.func, ast.Name) and node.func.id == "eval" for node in nodes):
                callers.append(name)
                assert module.eval.__module__ == "fairseq_bas.resilience.no_eval", name
    assert "fairseq.utils" in callers and "fairseq.optim.adam" in callers


def test_program_in_a_checkpoint_does_not_run(toy, tmp_path, monkeypatch, capsys):
    train_here([*tiny_transformer(toy, tmp_path, task="bas_translation"), "--max-update", 1])
    path, mark = tmp_path / "checkpoint_last.pt", tmp_path / "it ran"
    state = torch.load(path, weights_only=False)
    model = state["cfg"]["model"]
    payload = f"[1] + ([__import__('pathlib').Path({str(mark)!r}).touch()] * 0)"
    model.adaptive_softmax_cutoff = payload
    torch.save(state, path)
    with pytest.raises(SystemExit) as refused:
        checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert "no constant but a program" in str(refused.value) and not mark.exists()

    monkeypatch.delattr(utils, "eval")  # fairseq as it is: the danger is real
    with pytest.raises(Exception):  # noqa: B017 - whatever comes of such a model
        checkpoint_utils.load_model_ensemble_and_task([str(path)])
    assert mark.exists()


def test_fasta_path_is_not_run_by_the_shell(tmp_path):
    folder = tmp_path / "$(touch ran)"
    folder.mkdir()
    (folder / "train.fasta").write_text(">1\nAC\n")
    with pytest.raises(SystemExit, match="shell"):
        FastaDataset(str(folder / "train"))
