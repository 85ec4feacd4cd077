"""Law 7 for adversarial copies: what cannot work ends in one sentence before training."""

import pytest

from fairseq_bas.errors import UserError
from fairseq_bas.task.adversarial_checks import check_backend
from tests.toys import tiny_transformer
from tests.unit import test_language_update
from tests.unit.test_update import Setup

FGSM = ("--bas-adversarial", "fgsm")
FREE = ("--bas-adversarial", "free")
M4 = ("--bas-replicas", 4)
OURS = ("--criterion", "bas_cross_entropy")
SIZE = "--bas-adversarial-size"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            (SIZE, 0.1),
            "--bas-adversarial-size 0.1 has no meaning without --bas-adversarial; pass "
            "--bas-adversarial fgsm, or leave it out",
        ),
        (
            (*FGSM, "--bas-adversarial-steps", 2),
            "--bas-adversarial-steps 2 has no meaning with --bas-adversarial fgsm; pass "
            "--bas-adversarial pgd, or leave it out",
        ),
        (
            (*FGSM, "--bas-adversarial-staleness", 2),
            "--bas-adversarial-staleness 2 has no meaning with --bas-adversarial fgsm; pass "
            "--bas-adversarial stale, or leave it out",
        ),
        (
            (*FGSM, SIZE, -0.1),
            "--bas-adversarial-size -0.1 is out of range; give a number above 0, such as 0.01",
        ),
        (
            ("--bas-adversarial", "pgd", "--bas-adversarial-step-size", 0),
            "--bas-adversarial-step-size 0 is out of range; give a number above 0, such as 0.01",
        ),
        (
            ("--bas-adversarial", "pgd", "--bas-adversarial-steps", 0),
            "--bas-adversarial-steps 0 is out of range; give a whole number of at least 1",
        ),
        (
            ("--bas-adversarial", "stale", "--bas-adversarial-staleness", -1),
            "--bas-adversarial-staleness -1 is out of range; give a whole number of at least 0",
        ),
        (
            (*FGSM, "--bas-adversarial-share", "1.5@0"),
            "--bas-adversarial-share 1.5@0: '1.5' is not a number in [0, 1]; write a value or a "
            "schedule, as in 1@0,4@2e",
        ),
        (
            (*FGSM, "--bas-adversarial-share", 0),
            "--bas-adversarial-share 0.0 makes no copy adversarial; raise it, or leave "
            "--bas-adversarial out",
        ),
        (
            (*FGSM, *M4, "--bas-share", "encoder"),
            "--bas-adversarial fgsm on the source and target would be the same in all copies, "
            "which share that side with --bas-share encoder; leave one of the two out or pass "
            "--bas-adversarial-side target",
        ),
        (
            FREE,
            "--bas-adversarial free takes the gradient of a first pass without adversarial copies, "
            "and with M = 1 and a share of 0.5 any may be; raise --bas-replicas, lower the share, "
            "or use fgsm",
        ),
        (
            (*FREE, *M4, "--bas-replicas-per-pass", 4),
            "--bas-adversarial free takes the gradient of a first pass without adversarial copies, "
            "and with M = 4 and a share of 0.5 all but the first 2 may be, which is less than a "
            "pass of 4; pass --bas-replicas-per-pass 2 or less",
        ),
        (
            (*FREE, *M4, "--bas-placement", "workers", "--distributed-world-size", 2),
            "--bas-adversarial free needs the gradient of the first copies, which with "
            "--bas-placement workers another worker has; pass --bas-placement passes or rows",
        ),
        (
            (*FREE, *M4, "--bas-source-noise", "shuffle=2"),
            "--bas-adversarial free moves words along the gradient of another copy, where "
            "--bas-source-noise shuffle has other words; leave one of the two out, or use fgsm",
        ),
        (
            (*FGSM, *OURS, *M4, "--bas-consistency", "rdrop", "--bas-replicas-per-pass", 2),
            "--bas-consistency rdrop compares all copies, and with them in several passes "
            "--bas-adversarial fgsm attacks one after the other; leave one of the two out, or pass "
            "--bas-adversarial fgsm with all copies in one pass (--bas-placement rows)",
        ),
    ],
)
def test_bad_flags(toy, flags, sentence):
    if "--distributed-world-size" in flags:
        flags = (*flags, "--distributed-no-spawn")
    with pytest.raises(UserError) as refused:
        Setup(toy, tiny_transformer, *flags)
    assert str(refused.value) == sentence


def test_a_language_model_has_no_source(toy_lm):
    with pytest.raises(UserError) as refused:
        test_language_update.Setup(toy_lm, *FGSM, "--bas-adversarial-side", "both")
    assert str(refused.value) == (
        "--bas-adversarial-side both has no source to move in a language model; pass target, or "
        "leave it out"
    )
    copies = (*M4, "--bas-offset-copies", "--bas-batching", "streams")
    with pytest.raises(UserError) as refused:
        test_language_update.Setup(toy_lm, *FREE, *copies)
    assert "with --bas-offset-copies reads other text" in str(refused.value)


@pytest.mark.parametrize("backend", ["fully_sharded", "pytorch_ddp"])
def test_sharded_models_cannot_be_attacked_alone(toy, backend):
    for flags, refuses in ((FGSM, backend == "fully_sharded"), ((*FREE, *M4), False)):
        plan = Setup(toy, tiny_transformer, *flags).task.adversarial_plan
        if refuses:
            with pytest.raises(ValueError, match="--ddp-backend fully_sharded does not allow"):
                check_backend(plan, backend)
        else:
            check_backend(plan, backend)


@pytest.mark.parametrize(
    ("copies", "share", "rows"),
    [("4", "0.5", 2), ("4", "0.3", 2), ("4", "0.75", 1), ("6", "0.5", 3), ("2@0,4@3e", "0.5", 1)],
)
def test_free_attacks_choose_their_passes(toy, copies, share, rows):
    flags = (*FREE, "--bas-replicas", copies, "--bas-adversarial-share", share)
    task = Setup(toy, tiny_transformer, *flags).task
    assert task.replica_plan.largest().rows == rows
