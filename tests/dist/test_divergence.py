"""Two workers notice a divergence, report it and go back together."""

import json

from tests.helpers import run_workers, tiny_transformer


def test_two_workers_go_back_alike(toy, tmp_path):
    flags = [
        *tiny_transformer(toy, tmp_path, task="bas_translation"),
        *("--max-tokens", 100, "--max-epoch", 2, "--disable-validation", "--lr", "0.003,24.576"),
        *("--bas-on-divergence", "rollback", "--bas-rollback-lr-factor", 2**-13),
    ]
    first, second = run_workers(2, "fairseq_cli.train", *flags)
    said = [result.stderr.count("going back to") for result in (first, second)]
    assert said == [1, 0]
    (path,) = tmp_path.glob("divergence-*.json")
    updates = json.loads(path.read_text(encoding="utf-8"))["updates"]
    by_update = {update["update"]: update["workers"] for update in updates}
    epoch = min(by_update) + len(by_update) - 1  # the newest, which is in the second epoch
    assert epoch == max(by_update) and all(len(workers) == 2 for workers in by_update.values())
    read = [
        i
        for number in sorted(by_update)
        for worker in by_update[number]
        for batch in worker
        for i in batch["ids"]
    ]
    assert sorted(read[:60]) == list(range(60))  # of both workers, the first epoch once
    assert '"epoch": 2' in first.stdout + first.stderr
