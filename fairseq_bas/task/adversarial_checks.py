"""What does not go with adversarial copies, refused before training."""

from torch import nn

from ..model.noisy_embedding import embedding_of
from .adversarial_plan import AdversarialPlan, never_adversarial
from .noise_config import FLAG, NoisePlan
from .replica_config import ReplicaPlan


def check_copies(
    plan: AdversarialPlan, replicas: ReplicaPlan, noise: NoisePlan, offset_copies: bool = False
) -> None:
    """Refuse copies and noise that an attack cannot work on.

    Args:
        plan: the attack.
        replicas: where the copies run.
        noise: their noise, and what they share.
        offset_copies: copies of a stream read other text.

    Raises:
        ValueError: one sentence.
    """
    shared = {"input": (), "encoder": ("source",), "output": ("source", "target")}[noise.split]
    if plan and set(shared) & set(plan.sides):
        way = "" if noise.split == "output" else " or pass --bas-adversarial-side target"
        raise ValueError(
            f"--bas-adversarial {plan.kind} on the {' and '.join(plan.sides)} would be the same in "
            f"all copies, which share that side with --bas-share {noise.split}; leave one of the "
            f"two out{way}"
        )
    if plan.kind == "free":
        check_first_pass(plan, replicas, max(plan.share.values))
        _check_same_words(plan, noise, offset_copies)


def check_first_pass(plan: AdversarialPlan, replicas: ReplicaPlan, share: float) -> None:
    """Refuse copies among which a free attack has no first pass without adversarial ones.

    Args:
        plan: the attack.
        replicas: where the copies run.
        share: the greatest share of adversarial copies of the run.

    Raises:
        ValueError: one sentence.
    """
    if plan.kind != "free":
        return
    if replicas.workers > 1:
        raise ValueError(
            "--bas-adversarial free needs the gradient of the first copies, which with "
            "--bas-placement workers another worker has; pass --bas-placement passes or rows"
        )
    for copies in replicas.schedule.values:
        rows, room = _rows(replicas, copies), never_adversarial(copies, share)
        if room < rows:
            lack, way = "any may be", "raise --bas-replicas, lower the share, or use fgsm"
            if room:
                lack = f"all but the first {room} may be, which is less than a pass of {rows}"
                way = f"pass --bas-replicas-per-pass {room} or less"
            raise ValueError(
                "--bas-adversarial free takes the gradient of a first pass without adversarial "
                f"copies, and with M = {copies} and a share of {share:g} {lack}; {way}"
            )


def _check_same_words(plan: AdversarialPlan, noise: NoisePlan, offset_copies: bool) -> None:
    for side, policy in noise.policies.items():
        moves = [name for name in ("drop", "shuffle") if policy[name] and side in plan.sides]
        moves += [name for name in ("subword", "mix") if policy[name]]
        if moves:
            raise ValueError(
                "--bas-adversarial free moves words along the gradient of another copy, where "
                f"{FLAG[side]} {moves[0]} has other words; leave one of the two out, or use fgsm"
            )
    if offset_copies:
        raise ValueError(
            "--bas-adversarial free moves words along the gradient of another copy, which with "
            "--bas-offset-copies reads other text; leave one of the two out, or use fgsm"
        )


def check_model(plan: AdversarialPlan, model: nn.Module, arch: str) -> None:
    """Refuse a model whose embeddings cannot be reached.

    Args:
        plan: the attack.
        model: a fairseq model.
        arch: its name, for the message.

    Raises:
        ValueError: one sentence.
    """
    for side, part in (("source", "encoder"), ("target", "decoder")):
        if plan and side in plan.sides and not embedding_of(getattr(model, part, None)):
            raise ValueError(
                f"--bas-adversarial {plan.kind} moves the embeddings of the {side}, and the {part} "
                f"of --arch {arch} has none that can be reached (embed_tokens); pass "
                "--bas-adversarial-side for the other one, or leave it out"
            )


def check_criterion(plan: AdversarialPlan, replicas: ReplicaPlan, criterion: nn.Module) -> None:
    """Refuse a loss that compares copies of which only some are attacked yet.

    Args:
        plan: the attack.
        replicas: where the copies run.
        criterion: the loss.

    Raises:
        ValueError: one sentence.
    """
    if not (plan and getattr(criterion, "compares_copies", False)):
        return
    if any(_rows(replicas, copies) < copies for copies in replicas.schedule.values):
        raise ValueError(
            f"--bas-consistency {criterion.consistency} compares all copies, and with them in "
            f"several passes --bas-adversarial {plan.kind} attacks one after the other; leave one "
            "of the two out, or pass --bas-adversarial fgsm with all copies in one pass "
            "(--bas-placement rows)"
        )


def check_backend(plan: AdversarialPlan, backend: str) -> None:
    """Refuse a data-parallel wrapper (``--ddp-backend``) without which the model cannot run.

    Raises:
        ValueError: one sentence.
    """
    if plan and plan.kind != "free" and backend == "fully_sharded":
        raise ValueError(
            f"--bas-adversarial {plan.kind} runs the model by itself for the attack, which "
            "--ddp-backend fully_sharded does not allow; use free, or another --ddp-backend"
        )


def _rows(replicas: ReplicaPlan, copies: int) -> int:
    """Return how many copies of a sentence one pass holds, on one worker."""
    default = 1 if replicas.kind == "passes" else copies
    return min(replicas.rows_per_pass or default, copies)
