"""Updates with copies on a GPU, in half precision; skipped without one."""

import pytest
import torch

from tests.processes import json_log, run_cli
from tests.toys import tiny_transformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


PRECISIONS = [
    (),
    ("--fp16",),
    ("--memory-efficient-fp16",),
    ("--amp",),
    ("--bf16",),
    ("--memory-efficient-bf16",),
]


def entries(toy, save_dir, *extra, task="bas_translation"):
    flags = [f for f in tiny_transformer(toy, save_dir, task=task) if f != "--cpu"]
    result = run_cli("fairseq_cli.train", *flags, "--dropout", 0, *extra)
    return json_log(result, "train_inner")


def train(toy, save_dir, *extra):
    log = entries(toy, save_dir, "--max-update", 12, *extra)
    return [float(entry["loss"]) for entry in log]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("criterion", ["label_smoothed_cross_entropy", "bas_cross_entropy"])
def test_noiseless_copies_train_as_one(toy, tmp_path, precision, criterion):
    common = (*precision, "--criterion", criterion)
    one = train(toy, tmp_path / "one", *common)
    rows = train(toy, tmp_path / "rows", *common, "--bas-replicas", 4)
    passes = train(
        toy, tmp_path / "passes", *common, "--bas-replicas", 4, "--bas-placement", "passes"
    )
    assert rows == pytest.approx(one, rel=1e-2)
    assert passes == pytest.approx(one, rel=1e-2)


@pytest.mark.parametrize("precision", PRECISIONS[1:4])
def test_overflows_are_counted_and_no_more_than_of_equal_rows(toy, tmp_path, precision):
    scale = (*precision, "--fp16-init-scale", 2**24, "--max-update", 12, "--batch-size", 4)
    ours = entries(toy, tmp_path / "ours", *scale, "--bas-replicas", 4)
    rows = ("--batch-size", 16, "--max-tokens", 800)
    plain = entries(toy, tmp_path / "plain", *scale, *rows, task="translation")
    assert 0 < float(ours[-1]["bas_overflows"]) < 30
    # Sums over 16 sentences in plain fairseq; here means over the 4 copies of 4.
    assert float(ours[0]["loss_scale"]) >= float(plain[0]["loss_scale"])


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_a_resumed_run_has_the_loss_scale_of_one_that_went_on(toy, tmp_path, precision):
    """Losses may differ in the last bits on a GPU; overflows and growth may not."""
    window = ("--amp-scale-window",) if "--amp" in precision else ("--fp16-scale-window",)
    common = (*precision, *window, 3, "--fp16-init-scale", 2**20, "--disable-validation")
    whole = entries(toy, tmp_path / "whole", *common, "--max-update", 9)
    entries(toy, tmp_path / "again", *common, "--max-update", 5)
    again = entries(toy, tmp_path / "again", *common, "--max-update", 9)
    assert len(again) == 4
    for expected, found in zip(whole[5:], again, strict=True):
        assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-2)
        for key in ("loss_scale", "bas_overflows"):
            assert found.get(key) == expected.get(key)
