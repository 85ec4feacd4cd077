"""The LSTM translation model on the command line: training with copies, and generation."""

import re

from tests.processes import USER_DIR, json_log, run_cli
from tests.toys import tiny_bas_lstm


def test_trains_with_copies_that_share_the_encoder_and_generates(toy, tmp_path):
    trained = run_cli(
        "fairseq_cli.train",
        *(*tiny_bas_lstm(toy, tmp_path), "--lr", 0.02, "--max-epoch", 3, "--no-epoch-checkpoints"),
        *("--bas-replicas", 2, "--bas-share", "encoder", "--bas-zoneout-cell", 0.1),
        *("--bas-forward-masks", "copy", "--bas-residual", "--bas-decoder-layers", 3),
    )
    updates = json_log(trained, "train_inner")
    assert {float(update["bas_replicas"]) for update in updates} == {2}
    assert float(updates[-1]["ppl"]) < 0.9 * float(updates[0]["ppl"])
    generated = run_cli(
        "fairseq_cli.generate",
        *(toy.bin, "--user-dir", USER_DIR, "--task", "bas_translation", "--cpu"),
        *("--path", tmp_path / "checkpoint_last.pt", "--beam", 2, "--max-len-b", 5),
        *("--required-batch-size-multiple", 1, "--max-tokens", 200, "--print-alignment"),
    )
    count = len((toy.text / "test.en").read_text().splitlines())
    for kind in "DA":
        assert len(re.findall(rf"^{kind}-\d+\t", generated.stdout, re.MULTILINE)) == count
