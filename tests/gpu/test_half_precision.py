"""Updates with copies on a GPU, in half precision; skipped without one."""

import pytest
import torch

from tests.helpers import json_log, run_cli, tiny_transformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def train(toy, save_dir, *extra):
    flags = [f for f in tiny_transformer(toy, save_dir, task="bas_translation") if f != "--cpu"]
    result = run_cli("fairseq_cli.train", *flags, "--max-update", 12, "--dropout", 0, *extra)
    return [float(x["loss"]) for x in json_log(result, "train_inner")]


@pytest.mark.parametrize("precision", [(), ("--fp16",), ("--memory-efficient-fp16",), ("--amp",)])
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
