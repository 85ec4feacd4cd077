"""What of a model and of a loss does not go with noise and copies, refused before training."""

from torch import nn

from ..criterion.bas_cross_entropy import BasCrossEntropy
from ..model.forward_masks import draws_forward_masks
from ..model.noisy_embedding import embedding_of
from ..noise.policy import EMBEDDING_NOISES
from .noise_config import FLAG, NoisePlan
from .replica_config import ReplicaPlan


def check_model(plan: NoisePlan, model: nn.Module, arch: str) -> None:
    """Refuse a model that noise or sharing cannot reach into.

    Args:
        plan: the noise of the run.
        model: a fairseq model.
        arch: its name, for the message.

    Raises:
        ValueError: one sentence.
    """
    for side, part in (("source", "encoder"), ("target", "decoder")):
        policy = plan.policies[side]
        if policy.any_of(*EMBEDDING_NOISES) and not embedding_of(getattr(model, part, None)):
            raise ValueError(
                f"{FLAG[side]} {policy} changes embeddings, and the {part} of --arch {arch} has "
                f"none that can be reached (embed_tokens); leave out {', '.join(EMBEDDING_NOISES)}"
            )
    if plan.masks_by_copy and not draws_forward_masks(model):
        raise ValueError(
            f"--bas-forward-masks copy is for dropped weights and word types, which --arch {arch} "
            "has not; pass --arch bas_lstm or bas_awd_lstm_lm, or leave it out"
        )
    if plan.split == "output" and not hasattr(getattr(model, "decoder", None), "extract_features"):
        raise ValueError(
            f"--bas-share output needs a decoder with extract_features, which --arch {arch} has "
            "not; use --bas-share encoder or input"
        )


def check_criterion(plan: NoisePlan, replicas: ReplicaPlan, criterion: nn.Module) -> None:
    """Refuse a loss that does not go with the copies of the run.

    Args:
        plan: the noise of the run.
        replicas: where the copies run.
        criterion: the loss.

    Raises:
        ValueError: one sentence.
    """
    is_ours = isinstance(criterion, BasCrossEntropy)
    if plan.source["mix"] and not is_ours:
        raise ValueError(
            "mix changes labels, which this criterion does not know; pass --criterion "
            "bas_cross_entropy"
        )
    if not (is_ours and criterion.compares_copies):
        return
    flag = f"--bas-consistency {criterion.consistency}"
    if replicas.largest().replicas == 1:
        raise ValueError(f"{flag} compares copies, and there is one; raise --bas-replicas")
    if replicas.workers > 1:
        raise ValueError(
            f"{flag} compares copies, and with --bas-placement workers they are on different "
            "workers; pass --bas-placement rows or passes"
        )
    if plan.labels_differ:
        raise ValueError(
            f"{flag} needs copies with the same labels, and {plan.labels_differ} changes them; "
            "leave one of the two out"
        )
    if criterion.consistency == "clean" and not plan.variation.clean:
        raise ValueError(f"{flag} needs a clean copy; pass --bas-clean-replica and a noise")
