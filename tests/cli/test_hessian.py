"""``fairseq-bas hessian`` on two tiny trained models: one real process, then refusals."""

import json
import math

import pytest

from fairseq_bas import cli
from tests.in_process import train_here
from tests.processes import run_cli
from tests.toys import tiny_bas_lstm, tiny_transformer

UPDATES = ("--max-update", 6, "--no-epoch-checkpoints", "--disable-validation")


@pytest.fixture(scope="module")
def checkpoints(toy, tmp_path_factory):
    """Train two models of the same data, one known to be differentiable only once."""
    folder = tmp_path_factory.mktemp("hessian")
    for name, flags in (("smooth", tiny_transformer), ("once", tiny_bas_lstm)):
        train_here([*flags(toy, folder / name), *UPDATES])
    return [str(folder / name / "checkpoint_last.pt") for name in ("smooth", "once")]


@pytest.fixture(scope="module")
def result(toy, checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hessian_out")
    process = run_cli(
        *("fairseq_bas", "hessian", toy.bin, "--path", ":".join(checkpoints), "--cpu"),
        *("--sentences", 8, "--top", 2, "--smallest", 1, "--tolerance", 0.05),
        *("--trace-vectors", 3, "--density-steps", 6, "--density-vectors", 2),
        *("--json", folder / "out.json", "--figure", folder / "out.png"),
        forked=True,
    )
    document = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return process, document, (folder / "out.png").read_bytes()


def test_json_holds_all_parts_and_they_agree(result):
    _, document, _ = result
    for found in document["checkpoints"]:
        largest, second = found["top"]["values"]
        [smallest] = found["smallest"]["values"]
        assert largest >= second > 0 > smallest
        density, trace = found["density"], found["trace"]
        assert trace["mean"] == pytest.approx(sum(trace["samples"]) / 3)
        assert smallest - 0.1 * largest < min(density["nodes"])
        assert max(density["nodes"]) == pytest.approx(largest, rel=0.1)
        assert sum(density["weights"]) == pytest.approx(1)
        # The density starts from the vectors of the trace, the first two of the three.
        first_moment = sum(
            node * weight for node, weight in zip(density["nodes"], density["weights"], strict=True)
        )
        expected = sum(trace["samples"][:2]) / 2 / found["parameters"]
        assert first_moment == pytest.approx(expected, rel=1e-3)
        assert found["products"] >= 3 + 12 + found["top"]["products"]
        assert found["sentences"] == 8 and found["measured_loss"] > 0
    assert document["options"]["seed"] == 1 and "torch" in document["versions"]


def test_says_how_products_were_made(result):
    process, document, _ = result
    smooth, once = document["checkpoints"]
    assert (smooth["method"], smooth["not_double"]) == ("double", None)
    assert once["method"] == "difference" and "ZoneoutRecurrence" in once["not_double"]
    assert "once: products by differences of gradients: ZoneoutRecurrence" in process.stdout
    assert "smooth: products" not in process.stdout


def test_table_shows_checkpoints_side_by_side(result):
    process, document, _ = result
    lines = {line.split("  ")[0]: line.split() for line in process.stdout.splitlines()}
    assert process.stdout.splitlines()[0].split() == ["smooth", "once"]
    for row in (1, 2):
        shown = [float(number) for number in lines[f"eigenvalue {row}"][-2:]]
        exact = [found["top"]["values"][row - 1] for found in document["checkpoints"]]
        assert shown == pytest.approx(exact, rel=1e-3)
    assert "+-" in lines["trace"]


def test_figure_is_a_picture(result):
    _, _, picture = result
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000


def test_gauss_newton_has_no_negative_eigenvalue(toy, checkpoints, tmp_path, capsys):
    arguments = [
        *("hessian", toy.bin, "--path", checkpoints[0], "--cpu", "--sentences", 8),
        *("--top", 0, "--smallest", 0, "--trace-vectors", 1, "--density-steps", 5),
        *("--density-vectors", 1, "--gauss-newton", "--json", tmp_path / "out.json"),
    ]
    assert cli.main([str(word) for word in arguments]) == 0
    assert "of the Gauss-Newton matrix of f" in capsys.readouterr().out
    [found] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["checkpoints"]
    assert found["matrix"] == "gauss-newton" and found["top"] is None
    assert min(found["density"]["nodes"]) > -1e-5 < found["trace"]["mean"]
    assert found["trace"]["standard_error"] is None and math.isfinite(found["gradient_norm"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--top", "-1"), "--top -1 is negative"),
        (("--top", "0", "--trace-vectors", "0", "--density-steps", "0"), "nothing is left"),
        (("--tolerance", "2"), "--tolerance 2 is no small share"),
        (("--gauss-newton", "--method", "double"), "is about the Hessian itself"),
        (("--method", "double"), "--method double: ZoneoutRecurrence"),
        (("--top", "1000000"), "1000000 eigenvalues of a model with"),
        (("--json", "nowhere/out.json"), "nowhere/out.json cannot be written"),
    ],
)
def test_refusals_are_one_line(toy, checkpoints, capsys, flags, message):
    arguments = ["hessian", str(toy.bin), "--path", checkpoints[1], "--cpu", "--sentences", "4"]
    assert cli.main([*arguments, *flags]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("fairseq-bas hessian: ") and message in error
