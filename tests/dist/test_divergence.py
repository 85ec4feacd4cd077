"""Two workers notice a divergence, report it and go back together."""

import json

from tests.processes import run_workers
from tests.toys import tiny_transformer


def test_two_workers_go_back_alike(toy, tmp_path):
    flags = [
        *tiny_transformer(toy, tmp_path, task="bas_translation"),
        *("--max-tokens", 100, "--max-epoch", 2, "--disable-validation", "--lr", "0.003,24.576"),
        *("--bas-on-divergence", "rollback", "--bas-rollback-lr-factor", 2**-13),
    ]
    printed = [r.stdout + r.stderr for r in run_workers(2, "fairseq_cli.train", *flags)]
    assert [text.count("; going back to") for text in printed] == [1, 0]
    assert "done training" in printed[0]
    (path,) = tmp_path.glob("divergence-*.json")
    updates = json.loads(path.read_text(encoding="utf-8"))["updates"]
    assert all(len(update["workers"]) == 2 for update in updates)
    read = [
        i
        for update in reversed(updates)  # from the first on
        for worker in update["workers"]
        for batch in worker
        for i in batch["ids"]
    ]
    assert sorted(read[:60]) == list(range(60))  # the first epoch, once by both together
