"""LSTM language models on CUDA: training in all precisions, with copies and carried state."""

import pytest
import torch

from tests.processes import json_log, run_cli
from tests.toys import tiny_awd_lstm_lm

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.mark.parametrize("precision", [[], ["--fp16", "--fp16-init-scale", 4], ["--amp"]])
@pytest.mark.parametrize(
    "model",
    [
        ["--bas-weight-drop", 0.3, "--optimizer", "bas_nt_asgd", "--bas-average-now", "--lr", 1],
        ["--bas-weight-drop", 0, "--bas-zoneout-cell", 0.3, "--bas-zoneout-hidden", 0.1],
    ],
)
def test_training_learns(toy_lm, tmp_path, precision, model):
    """The loss falls over twenty updates, with copies, variable windows and AR and TAR."""
    flags = [flag for flag in tiny_awd_lstm_lm(toy_lm, tmp_path) if flag != "--cpu"]
    flags += ["--bas-replicas", 3, "--bas-variable-bptt", "--bas-ar", 2, "--bas-tar", 1]
    run = run_cli("fairseq_cli.train", *flags, *model, *precision, "--max-update", 20)
    losses = [float(record["nll_loss"]) for record in json_log(run, "train_inner")]
    assert losses[-1] < losses[0]
