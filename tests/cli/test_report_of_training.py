"""``fairseq-bas report`` and the notebook's functions on a run that fairseq trained."""

import re
import shutil
from types import SimpleNamespace

import pytest

from tests.processes import ROOT, run_cli
from tests.report_page import Strict, report


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """Train with copies, interrupted and resumed, leaving what the README's commands leave."""
    folder = tmp_path_factory.mktemp("trained")
    flags = [
        *(toy.bin, "--user-dir", "fairseq_bas", "--task", "bas_translation", "--bas-replicas", 2),
        *("--arch", "transformer_iwslt_de_en", "--encoder-layers", 1, "--decoder-layers", 1),
        *("--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--share-all-embeddings"),
        *("--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32, "--dropout", 0.1),
        *("--encoder-attention-heads", 2, "--decoder-attention-heads", 2, "--cpu"),
        *("--criterion", "bas_cross_entropy", "--label-smoothing", 0.1, "--optimizer", "adam"),
        *("--lr", 0.003, "--max-tokens", 200, "--required-batch-size-multiple", 1, "--seed", 1),
        *("--num-workers", 0, "--log-interval", 2, "--save-dir", folder / "checkpoints"),
        *("--no-epoch-checkpoints",),
    ]
    output = ""
    for epoch, style in ((1, "simple"), (3, "json")):
        more = ("--max-epoch", epoch, "--log-format", style)
        result = run_cli("fairseq_cli.train", *flags, *more, forked=True)
        output += result.stderr + result.stdout
    (folder / "checkpoints" / "train.log").write_text(output, encoding="utf-8")
    (folder / "data-bin").symlink_to(toy.bin)
    shutil.copy(toy.text / "test.de", folder / "test.de")
    lines = (toy.text / "test.de").read_text().splitlines()
    (folder / "test.gen").write_text("\n".join(line[:-4] for line in lines) + "\n")
    return SimpleNamespace(folder=folder, log=output)


def test_a_real_run_in_both_formats(trained, tmp_path):
    out = tmp_path / "page.html"
    assert report(f"real={trained.folder / 'checkpoints'}", "--out", out, "--no-png") == 0
    text = "\n".join(Strict(out.read_text(encoding="utf-8")).text)
    assert re.search(r"key fingerprint [0-9a-f]{8}", text)
    assert re.search(r"fairseq_bas \S+, fairseq \S+, torch", text)
    assert "checkpoint_last.pt" in text and "SHA-256 agrees" in text
    assert "flags changed" in text and "--max-epoch: 1, then 3" in text
    table = (tmp_path / "page_files" / "runs.tsv").read_text().splitlines()
    rows = [dict(zip(table[0].split("\t"), row.split("\t"), strict=True)) for row in table[1:]]
    assert [row["epoch"] for row in rows if row["part"] == "valid"] == ["1", "2", "3"]
    assert {row["bas_replicas"] for row in rows if row["part"] == "train"} == {"2"}


def test_the_notebook_script_runs(trained, tmp_path, monkeypatch, capsys):
    for file in trained.folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    code = compile((ROOT / "docs" / "notebook.py").read_text(), "notebook.py", "exec")
    space = {"__name__": "notebook"}
    exec(code, space)  # a script of this repository, in this process to spare the imports
    out = capsys.readouterr().out
    assert space["run"].log.replicas == 2
    assert "M = 4: BLEU" in out and "noise scale" in out and "sharpness" in out
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    Strict((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_python_callers_get_value_errors(trained):
    from fairseq_bas import notebook

    run = notebook.load_run(trained.folder / "checkpoints", "name", checkpoints=False)
    assert run.name == "name" and run.checkpoints == ()
    with pytest.raises(ValueError, match="no run has nothing over hours; there are loss-updates"):
        notebook.plot([run], "nothing", over="hours")
    with pytest.raises(ValueError, match="unrecognized arguments: --nothing"):
        notebook.sharpness("data-bin", "x.pt", nothing=1)
    with pytest.raises(ValueError, match=r"x\.pt does not exist"):
        notebook.noise_scale("data-bin", "x.pt")
    with pytest.raises(ValueError, match="--copies 1 shows no difference"):
        notebook.replica_variance(
            "data-bin", trained.folder / "checkpoints/checkpoint_last.pt", copies=1
        )
