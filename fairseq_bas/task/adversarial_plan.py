"""What the flags of adversarial copies mean, checked against each other."""

import math

from ..config import Schedule, parse_schedule
from ..noise.adversarial import adversarial_copies
from .adversarial_config import AdversarialConfig
from .replica_config import ReplicaConfig

FLAGS = ("share", "side", "size", "norm", "steps", "step_size", "staleness")
ONLY_WITH = {"steps": "pgd", "step_size": "pgd", "staleness": "stale"}
SHARE, SIZE, STEPS, STALENESS = "0.5", 0.01, 3, 1
MADRY = 2.5
"""Length of all steps together, as a multiple of the size (Madry et al. 2018)."""


class AdversarialPlan:
    """Hold what is attacked, how, and in how many of the copies.

    Attributes:
        kind: of ``KINDS``.
        sides: ``source``, ``target`` or both.
        share: schedule of the share of adversarial copies.
        size: bound of a perturbation, relative to the embeddings.
        norm: ``l2`` or ``sign``.
        steps: attack passes before the pass that trains.
        step_size: length of each step, in the unit of ``size``.
        staleness: updates between the parameters of the attack and those that train.

    Args:
        cfg: the flags.
        has_source: False for a language model.

    Raises:
        ValueError: one sentence, if a flag is out of range or has no meaning.
    """

    def __init__(self, cfg: AdversarialConfig, has_source: bool = True):
        self.kind = str(cfg.bas_adversarial)
        given = {name: getattr(cfg, f"bas_adversarial_{name}") for name in FLAGS}
        _check_meaning(self.kind, given)
        self.sides = _sides(given["side"], has_source)
        self.share: Schedule[float] = parse_schedule(
            given["share"] or SHARE, "--bas-adversarial-share", _share
        )
        if self and max(self.share.values) == 0:
            raise ValueError(
                f"--bas-adversarial-share {self.share} makes no copy adversarial; raise it, or "
                "leave --bas-adversarial out"
            )
        self.size = SIZE if given["size"] is None else given["size"]
        self.norm = str(given["norm"] or "l2")
        steps = STEPS if given["steps"] is None else given["steps"]
        self.steps = {"pgd": steps, "free": 0}.get(self.kind, 1)
        self.staleness = 0
        if self.kind == "stale":
            self.staleness = STALENESS if given["staleness"] is None else given["staleness"]
        _check_ranges(self.size, given)
        self.step_size = given["step_size"] or min(1.0, MADRY / max(1, self.steps)) * self.size

    def __bool__(self) -> bool:
        return self.kind != "none"

    def choose_passes(self, cfg: ReplicaConfig) -> None:
        """Let free attacks have a first pass without adversarial copies, where nothing forbids it.

        Args:
            cfg: the flags of copies; ``bas_replicas_per_pass`` is set if the user did not.
        """
        if self.kind != "free" or cfg.bas_replicas_per_pass is not None:
            return
        replicas = parse_schedule(cfg.bas_replicas or "1", flag="--bas-replicas").values
        room = min(never_adversarial(m, max(self.share.values)) for m in replicas)
        fitting = [rows for rows in range(1, room + 1) if all(m % rows == 0 for m in replicas)]
        if fitting and str(cfg.bas_placement) == "rows":
            cfg.bas_replicas_per_pass = fitting[-1]

    def describe(self, by_schedule: bool = False) -> str:
        """Return one line for the summary of a run.

        Args:
            by_schedule: the batch schedule says which share is adversarial.
        """
        share = "a share by the batch schedule" if by_schedule else str(self.share)
        cost = {
            "free": "along the gradient of the first pass, no pass more",
            "pgd": f"{self.steps} steps of {self.step_size:g}, {self.steps} attack passes more",
            "stale": f"at the parameters of {self.staleness} updates ago, an attack pass more",
        }.get(self.kind, "an attack pass more")
        return (
            f"{self.kind}, {share} of the copies: the {' and '.join(self.sides)} embeddings "
            f"moved by {self.size:g} of their length ({self.norm}), {cost}"
        )


def _check_meaning(kind, given):
    for name, value in given.items():
        flag = f"--bas-adversarial-{name.replace('_', '-')} {value}"
        if value is not None and kind == "none":
            raise ValueError(
                f"{flag} has no meaning without --bas-adversarial; pass --bas-adversarial fgsm, "
                "or leave it out"
            )
        if value is not None and kind != ONLY_WITH.get(name, kind):
            raise ValueError(
                f"{flag} has no meaning with --bas-adversarial {kind}; pass --bas-adversarial "
                f"{ONLY_WITH[name]}, or leave it out"
            )


def _check_ranges(size, given):
    for name, value in (("size", size), ("step-size", given["step_size"])):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(
                f"--bas-adversarial-{name} {value:g} is out of range; give a number above 0, such "
                f"as {SIZE:g}"
            )
    for name, least in (("steps", 1), ("staleness", 0)):
        value = given[name]
        if value is not None and value < least:
            raise ValueError(
                f"--bas-adversarial-{name} {value} is out of range; give a whole number of at "
                f"least {least}"
            )


def _sides(side, has_source):
    if not has_source and side is not None and str(side) != "target":
        raise ValueError(
            f"--bas-adversarial-side {side} has no source to move in a language model; pass "
            "target, or leave it out"
        )
    if str(side or "both") == "both":
        return ("source", "target") if has_source else ("target",)
    return (str(side),)


def _share(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is not a number in [0, 1]")
    return value


def never_adversarial(copies: int, share: float) -> int:
    """Return how many of the first copies of a sentence are never adversarial.

    >>> never_adversarial(4, 0.5), never_adversarial(4, 0.3), never_adversarial(1, 0.5)
    (2, 2, 0)
    """
    return copies - adversarial_copies(share, copies)[1]
