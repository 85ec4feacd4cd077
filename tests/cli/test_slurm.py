"""The batch script's body with programs in place of Slurm's, which run what they are given."""

import os
import stat
import subprocess

import pytest

from tests.processes import ROOT

SRUN = """#!/usr/bin/env bash
echo "srun $*" >>"$RECORD"
while [[ "$1" == -* ]]; do case "$1" in *=*) shift ;; *) shift 2 ;; esac; done
code=0
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
    SLURM_NODEID=$node "$@" || code=$?
done
exit "$code"
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >>"$RECORD"
[ "$1" != show ] || printf '%s\\n' node7 node8
"""
PYTHON = """#!/usr/bin/env bash
echo "python $*" >>"$RECORD"
exit "$TRAINING_ENDS"
"""


def run_job(folder, *arguments, ends=0, nodes=1, **environment):
    """Run the script as Slurm would; return its exit code and what the programs were given."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("python", PYTHON)):
        program = folder / name
        program.write_text(text)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    job = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "RECORD": str(folder / "record"),
        "BAS_PYTHON": str(folder / "python"),
        "BAS_ROOT": str(ROOT),
        "TRAINING_ENDS": str(ends),
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_NUM_NODES": str(nodes),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    command = ["bash", str(ROOT / "scripts/slurm/train.sbatch"), *arguments]
    result = subprocess.run(command, env=job, capture_output=True, text=True, timeout=60)
    return result.returncode, (folder / "record").read_text().splitlines()


def test_two_nodes_meet_at_the_first(tmp_path):
    code, record = run_job(tmp_path, "data", "--lr", "1 2", nodes=2, BAS_CPU="1", BAS_WORKERS="2")
    assert code == 0
    launchers = [line for line in record if line.startswith("python -m fairseq_bas")]
    assert len(launchers) == 2
    for rank, line in enumerate(launchers):
        assert f"--workers 2 --machines 2 --rank-of-machine {rank} --restarts 3" in line
        assert "--meet node7:21234" in line
        assert "fairseq_cli.train data --lr 1 2 --cpu --user-dir" in line
    assert not any("requeue" in line for line in record)


@pytest.mark.parametrize(
    ("ends", "environment", "requeued"),
    [
        (75, {}, "1234"),
        (75, {"SLURM_ARRAY_JOB_ID": "99", "SLURM_ARRAY_TASK_ID": "3"}, "99_3"),
        (75, {"SLURM_RESTART_COUNT": "2", "BAS_REQUEUES": "2"}, None),
        (1, {}, None),
    ],
)
def test_only_an_interrupted_run_is_queued_again(tmp_path, ends, environment, requeued):
    code, record = run_job(tmp_path, "data", "--seed", "TASK", ends=ends, **environment)
    again = [line for line in record if line.startswith("scontrol requeue")]
    assert again == ([f"scontrol requeue {requeued}"] if requeued else [])
    assert code == (0 if requeued else 1)
    seed = environment.get("SLURM_ARRAY_TASK_ID", "0")
    assert any(f"data --seed {seed} " in line for line in record)
