"""What the flags of the divergence guard mean, checked against each other."""

from typing import Any

LR_FACTOR, ROLLBACKS = 0.5, 3


def check_flags(cfg: Any) -> tuple[float, int]:
    """Return the factor of each rollback and how many there may be.

    Args:
        cfg: a ``DivergenceConfig``.

    Raises:
        ValueError: one sentence, if a flag is out of range or has no meaning.

    >>> from types import SimpleNamespace
    >>> check_flags(SimpleNamespace(
    ...     bas_on_divergence="rollback", bas_rollback_lr_factor=None, bas_rollbacks=5))
    (0.5, 5)
    """
    policy = str(cfg.bas_on_divergence)
    factor, rollbacks = cfg.bas_rollback_lr_factor, cfg.bas_rollbacks
    given = {"--bas-rollback-lr-factor": factor, "--bas-rollbacks": rollbacks}
    for flag, value in given.items():
        if value is not None and policy != "rollback":
            raise ValueError(
                f"{flag} {value} has no meaning with --bas-on-divergence {policy}; pass "
                "--bas-on-divergence rollback, or leave it out"
            )
    if factor is not None and not 0 < factor <= 1:
        raise ValueError(
            f"--bas-rollback-lr-factor {factor:g} is out of range; give a number above 0 and up to "
            f"1, such as {LR_FACTOR:g}"
        )
    if rollbacks is not None and rollbacks < 1:
        raise ValueError(
            f"--bas-rollbacks {rollbacks} leaves nothing of --bas-on-divergence rollback; give 1 "
            "or more, or pass stop"
        )
    return LR_FACTOR if factor is None else factor, ROLLBACKS if rollbacks is None else rollbacks


def check_checkpoints(cfg: Any, suffix: str) -> None:
    """Refuse to promise rollbacks to a run that will have nothing to go back to.

    Args:
        cfg: fairseq's flags of checkpoints.
        suffix: what the names of its checkpoints end with.

    Raises:
        ValueError: in one sentence.
    """
    hindrances = {
        "--no-save": cfg.no_save,
        "--no-last-checkpoints": cfg.no_last_checkpoints,
        "--no-save-optimizer-state": cfg.no_save_optimizer_state,
        "--write-checkpoints-asynchronously": cfg.write_checkpoints_asynchronously,
    }
    for flag, is_given in hindrances.items():
        if is_given:
            raise ValueError(
                f"{flag} leaves --bas-on-divergence rollback no checkpoint_last.pt to go back to; "
                "leave it out, or pass --bas-on-divergence stop"
            )
    if suffix:
        raise ValueError(
            f"--bas-on-divergence rollback does not know checkpoints in parts ({suffix}); pass "
            "--bas-on-divergence stop"
        )
