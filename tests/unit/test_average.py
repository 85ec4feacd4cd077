"""Averaged checkpoints: the mean of the weights, one model, nothing of the optimizer."""

import numpy as np
import pytest
import torch

from fairseq_bas.cli import main
from fairseq_bas.safe_load import load_checked
from fairseq_bas.tool.average import average_checkpoints, newest


def save(path, updates, weights, dtype=torch.float32):
    model = {name: torch.tensor(w, dtype=dtype) for name, w in weights.items()}
    model["steps"] = torch.tensor(updates)  # whole numbers are not averaged
    state = {
        "model": model,
        "optimizer_history": [{"num_updates": updates}],
        "last_optimizer_state": {"state": {}},
        "cfg": {"updates": updates},
    }
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_mean_is_that_of_float64(tmp_path, dtype):
    rng = np.random.default_rng(1)
    parts = [{"a": rng.normal(size=(3, 4)), "b": 1000 * rng.normal(size=7)} for _ in range(5)]
    paths = [save(tmp_path / f"{i}.pt", i, part, dtype) for i, part in enumerate(parts, 1)]
    state = average_checkpoints(paths)
    for name in "ab":
        stored = [load_checked(path)["model"][name].numpy().astype(np.float64) for path in paths]
        expected = np.mean(stored, axis=0).astype(np.float32)
        assert state["model"][name].dtype == torch.float32
        np.testing.assert_array_equal(state["model"][name].numpy(), expected)
    assert state["model"]["steps"] == 5
    assert state["cfg"] == {"updates": 5}
    assert "last_optimizer_state" not in state


def test_the_command_takes_the_newest_once_and_writes_a_checkpoint(tmp_path, capsys):
    files = [(f"checkpoint_1_{u}.pt", u, float(u)) for u in (20, 100, 3, 40)]
    paths = [save(tmp_path / name, u, {"a": [value]}) for name, u, value in files]
    paths.append(save(tmp_path / "checkpoint_last.pt", 100, {"a": [100.0]}))
    out = tmp_path / "average.pt"
    assert main(["average", *paths, "--last", "3", "--out", str(out)]) == 0
    expected = (20 + 40 + 100) / 3
    assert load_checked(str(out))["model"]["a"].item() == pytest.approx(expected, rel=1e-7)
    said = capsys.readouterr().out
    assert "checkpoint_1_20.pt, checkpoint_1_40.pt, checkpoint_1_100.pt" in said
    assert newest(paths, 9) == [paths[2], paths[0], paths[3], paths[1]]


@pytest.mark.parametrize(
    ("weights", "says"),
    [({"a": [1.0, 2.0]}, "a is (2,) and was (1,)"), ({"b": [1.0]}, "a is missing and was (1,)")],
)
def test_another_model_is_refused_in_one_line(tmp_path, capsys, weights, says):
    paths = [save(tmp_path / "1.pt", 1, {"a": [1.0]}), save(tmp_path / "2.pt", 2, weights)]
    assert main(["average", *paths, "--out", str(tmp_path / "out.pt")]) == 1
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "out.pt").exists()


def test_a_checkpoint_is_not_overwritten_and_last_is_positive(tmp_path, capsys):
    path = save(tmp_path / "1.pt", 1, {"a": [1.0]})
    assert main(["average", path, "--out", path]) == 1
    assert main(["average", path, "--last", "0", "--out", str(tmp_path / "out.pt")]) == 1
    assert "--last 0 is not positive" in capsys.readouterr().err
