"""Another number of workers in the middle of an epoch: each sentence is trained on once in it."""

import json
from collections import Counter

import pytest


from tests.processes import run_cli, run_workers
from tests.toys import tiny_transformer
from tests.resume_runs import last_checkpoint

# Imported by --user-dir: the plugin, with a record of what counted in every training step.
RECORDER = '''
import json
import os
import torch.distributed as dist
import fairseq_bas
from fairseq_bas.task.bas_translation import BasTranslationTask

train_step = BasTranslationTask.train_step


def recorded(self, sample, model, criterion, optimizer, update_num, *args, **kwargs):
    loss, sample_size, log = train_step(
        self, sample, model, criterion, optimizer, update_num, *args, **kwargs
    )
    if float(sample_size) > 0:
        line = {
            "ids": sample["id"].tolist(),
            "tokens": float(log["ntokens"]),
            "rows": float(log["bas_rows"]),
            "update": update_num,
            "workers": dist.get_world_size() if dist.is_initialized() else 1,
        }
        with open(os.path.join(FOLDER, str(os.getpid())), "a") as file:
            file.write(json.dumps(line) + "\\n")
    return loss, sample_size, log


BasTranslationTask.train_step = recorded
'''
STAGES = (
    (2, 3, ("--batch-size", 4, "--bas-replicas", 1)),
    (1, 5, ("--batch-size", 5, "--max-tokens", 60, "--bas-replicas", 3)),
    (3, 1000, ("--batch-size", 4, "--bas-replicas", 2, "--bas-placement", "passes")),
)


@pytest.mark.dist
def test_workers_and_copies_change_in_the_middle_of_an_epoch(toy, tmp_path):
    plugin, seen = tmp_path / "recorder", tmp_path / "seen"
    plugin.mkdir()
    seen.mkdir()
    (plugin / "__init__.py").write_text(RECORDER.replace("FOLDER", repr(str(seen))))
    for workers, updates, flags in STAGES:
        command = (
            *tiny_transformer(toy, tmp_path / "ck", task="bas_translation"),
            *("--user-dir", plugin, "--max-epoch", 1, "--max-update", updates, *flags),
            *("--disable-validation", "--no-epoch-checkpoints", "--num-workers", workers % 2),
        )
        if workers == 1:
            run_cli("fairseq_cli.train", *command)
        else:
            run_workers(workers, "fairseq_cli.train", *command)
    steps = [json.loads(line) for file in seen.iterdir() for line in file.read_text().splitlines()]
    assert Counter(i for step in steps for i in step["ids"]) == Counter(range(60))
    for step in steps:
        copies = {2: 1, 1: 3, 3: 2}[step["workers"]]
        assert step["rows"] == copies * len(step["ids"])
    assert {step["workers"]: step["update"] for step in sorted(steps, key=lambda s: -s["update"])} == {
        2: 0, 1: 3, 3: 5,
    }  # fmt: skip
    state = last_checkpoint(tmp_path / "ck")
    planner = state["extra_state"]["train_iterator"]["bas_companions"]["planner"]
    assert planner["sentences"] == 60
    assert planner["target_tokens"] == sum(step["tokens"] for step in steps)

