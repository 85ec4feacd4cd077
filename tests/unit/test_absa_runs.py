"""ABSA in real training: what it measures, that a resumed run goes on exactly, what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_bas.batching.policy import parse_batch_schedule
from fairseq_bas.data.fixed_text import choose
from fairseq_bas.rng import derive_seed
from fairseq_bas.task.curvature import Curvature
from tests.in_process import config_of, train_here
from tests.resume_runs import assert_bit_equal, last_checkpoint
from tests.toys import tiny_transformer

SCHEDULE = "absa:every=3u,max=4x,patience=3,drop=1.2,sentences=12,until=1"
PLAIN = ("--lr-scheduler", "bas_scaled", "--bas-base-schedule", "fixed", "--max-tokens", 40)


def run(toy, save_dir, *extra):
    flags = tiny_transformer(toy, save_dir, task="bas_translation")
    return train_here([*flags, *PLAIN, "--disable-validation", "--dropout", 0.2, *extra])


def test_resume_is_exact_between_measurements(toy, tmp_path):
    """Law 3, across growth, with adversarial copies whose share follows the schedule."""
    flags = ("--bas-batch-schedule", SCHEDULE, "--bas-adversarial", "fgsm", "--bas-replicas", 2)
    flags += ("--max-epoch", 9)
    whole = run(toy, tmp_path / "whole", *flags, "--max-update", 18)
    first = run(toy, tmp_path / "parts", *flags, "--max-update", 8)
    second = run(toy, tmp_path / "parts", *flags, "--max-update", 18)
    assert {float(entry["bas_kappa"]) for entry in whole} >= {1, 2}
    keys = ("loss", "bsz", "bas_kappa", "lr", "bas_adversarial_share")
    for one, other in zip(whole, first + second, strict=True):
        assert [one[key] for key in keys] == [other[key] for key in keys]
    ends = [last_checkpoint(tmp_path / end) for end in ("whole", "parts")]
    assert_bit_equal(*ends, "model", "last_optimizer_state")
    states = [end["extra_state"]["train_iterator"]["bas_companions"] for end in ends]
    assert states[0] == states[1] and states[0]["planner"]["controller"]["absa"]["growths"] > 0


def test_measures_the_hessian_of_the_trained_weights(toy, tmp_path):
    """The eigenvalue is ARPACK's, of gradients of fairseq's own loss on the same sentences."""
    schedule = ("--bas-batch-schedule", f"{SCHEDULE},adversarial=0")
    log = run(toy, tmp_path, *schedule, "--max-update", 4, "--required-batch-size-multiple", 1)
    [model], _, task = checkpoint_utils.load_model_ensemble_and_task(
        [str(tmp_path / "checkpoint_last.pt")], arg_overrides={"data": str(toy.bin)}
    )
    task.load_dataset("train")
    dataset = task.dataset("train")
    chosen = choose(len(dataset), 12, derive_seed(1, "curvature", 0))
    sample = dataset.collater([dataset[int(index)] for index in chosen])
    model.double().eval()
    weights = list(dict.fromkeys(model.parameters()))

    def gradient():
        log_probs = model.get_normalized_probs(model(**sample["net_input"]), log_probs=True)
        nll = torch.nn.functional.nll_loss(
            log_probs.flatten(0, 1), sample["target"].flatten(), ignore_index=1
        )
        return torch.autograd.grad(nll, weights, create_graph=True)

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        flat = torch.cat([part.flatten() for part in gradient()])

    def multiply(vector):
        direction = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1))
        parts = torch.autograd.grad(flat @ direction, weights, retain_graph=True)
        return torch.cat([part.flatten() for part in parts]).numpy()

    from scipy.sparse.linalg import LinearOperator, eigsh

    size = len(flat)
    hessian = LinearOperator((size, size), matvec=multiply, dtype=np.float64)
    largest = eigsh(hessian, k=1, which="LA", tol=1e-4, return_eigenvectors=False)[0]
    assert "bas_curvature" not in log[2] and float(log[3]["bas_curvature"]) == pytest.approx(
        largest, rel=0.03
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ((), "absa trains on adversarial copies, and nothing makes any; pass --bas-adversarial"),
        (("--bas-adversarial", "fgsm", "--bas-adversarial-share", "0.3"), "both say how many"),
    ],
)
def test_refuses_what_it_cannot_follow(toy, tmp_path, flags, line):
    with pytest.raises(SystemExit) as stopped:
        run(toy, tmp_path, "--bas-batch-schedule", "absa:max=4x", *flags)
    assert line in str(stopped.value) and "\n" not in str(stopped.value)


def test_half_precision_is_refused(toy, tmp_path):
    """A trainer gets that far on a GPU only; all that is read of it is its config."""
    config = config_of(tiny_transformer(toy, tmp_path, task="bas_translation"))
    curvature = Curvature(parse_batch_schedule("absa:max=4x"))
    for name in ("fp16", "bf16", "memory_efficient_fp16", "memory_efficient_bf16"):
        config.common[name] = True
        flag = f"--{name.replace('_', '-')}"
        with pytest.raises(ValueError, match=f"of {flag} are too coarse; pass --amp"):
            curvature.begin_run(None, SimpleNamespace(cfg=config))
        config.common[name] = False
    curvature.begin_run(None, SimpleNamespace(cfg=config))
