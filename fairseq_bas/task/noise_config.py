"""The flags of what makes copies differ, shared by every task, and their meaning."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum

from ..model.shared_trunk import SPLITS
from ..noise.policy import NoisePolicy, Variation, parse_noise
from .adversarial_config import AdversarialConfig

SHARE_CHOICES = ChoiceEnum(list(SPLITS))
MASK_CHOICES = ChoiceEnum(["pass", "update", "copy"])
UNIT_CHOICES = ChoiceEnum(["word", "token"])
FLAG = {"source": "--bas-source-noise", "target": "--bas-target-noise"}


@dataclass
class NoiseConfig(AdversarialConfig):
    """Hold the flags of noise, adversarial copies among it, and of partial replication."""

    bas_source_noise: Optional[str] = field(
        default=None,
        metadata={
            "help": "noise of the source, drawn anew for every copy and update, such as "
            "drop=0.1,shuffle=3: drop, mask, replace, cutoff (rates of words), shuffle (words), "
            "switchout (temperature), bigram, feature-cutoff, span-cutoff (rates), jitter (share "
            "of the embedding's size), mix (Beta parameter), subword (alpha of a unigram model, p "
            "of BPE-dropout); none for none"
        },
    )
    bas_target_noise: Optional[str] = field(
        default=None,
        metadata={
            "help": "noise of the decoder's input, as --bas-source-noise but without drop and "
            "shuffle; bigram-labels (rate) resamples labels too (Xie et al. 2017)"
        },
    )
    bas_clean_replica: bool = field(
        default=False, metadata={"help": "leave copy 0 of every sentence without this noise"}
    )
    bas_graded_noise: bool = field(
        default=False,
        metadata={"help": "give later copies more noise: strengths are evenly spaced, mean 1"},
    )
    bas_complementary_noise: bool = field(
        default=False,
        metadata={
            "help": "hide (drop, mask, replace, cut off) a word in at most one copy of a sentence"
        },
    )
    bas_noise_unit: UNIT_CHOICES = field(
        default="word",
        metadata={
            "help": "what is dropped, masked, replaced, cut off and shuffled as one: word (as "
            "subword marks show) or token, for text without spaces between words"
        },
    )
    bas_subword_model: Optional[str] = field(
        default=None,
        metadata={
            "help": "sentencepiece model for subword noise, or one for each side: SOURCE:TARGET; "
            "the dictionary must hold all its pieces"
        },
    )
    bas_subword_nbest: int = field(
        default=-1,
        metadata={
            "help": "draw from this many best segmentations of a unigram model (-1: from all)"
        },
    )
    bas_share: SHARE_CHOICES = field(
        default="input",
        metadata={
            "help": "what copies of a sentence share: input (nothing else), encoder (its output, "
            "the decoder runs for each copy), output (all but the dropout before the output layer)"
        },
    )
    bas_output_dropout: Optional[float] = field(
        default=None,
        metadata={
            "help": "dropout before the output layer with --bas-share output (default: the "
            "decoder's)"
        },
    )
    bas_forward_masks: MASK_CHOICES = field(
        default="pass",
        metadata={
            "help": "draw noise that all rows of a forward pass share (LayerDrop, dropped weights "
            "and word types) anew for every pass, or once an update, or (weights and word types) "
            "for every copy in a pass"
        },
    )


class NoisePlan:
    """Hold what the flags of noise mean, checked against each other.

    Args:
        cfg: the flags.
        largest: the greatest M of the run.
        aligned: True if word alignments are loaded.

    Raises:
        ValueError: one sentence, if a flag is out of range or contradicts another.
    """

    def __init__(self, cfg: NoiseConfig, largest: int, aligned: bool = False):
        self.source = parse_noise(cfg.bas_source_noise or "", FLAG["source"], "source")
        self.target = parse_noise(cfg.bas_target_noise or "", FLAG["target"], "target")
        self.variation = Variation(
            cfg.bas_clean_replica, cfg.bas_graded_noise, cfg.bas_complementary_noise
        )
        self.split = str(cfg.bas_share)
        self.output_dropout = cfg.bas_output_dropout
        self.masks_by_update = str(cfg.bas_forward_masks) == "update"
        self.masks_by_copy = str(cfg.bas_forward_masks) == "copy"
        self.by_token = str(cfg.bas_noise_unit) == "token"
        self.subword_nbest = cfg.bas_subword_nbest
        self.subword_models = _by_side(cfg.bas_subword_model)
        for check in (
            _check_variation,
            _check_split,
            _check_mix,
            _check_subwords,
        ):
            check(self, largest)
        if aligned and (self.source or self.split != "input" or self.target["subword"]):
            raise ValueError(
                "--load-alignments gives positions in the text as it is; leave out "
                f"{FLAG['source']}, subword sampling and --bas-share"
            )

    @property
    def policies(self) -> dict[str, NoisePolicy]:
        """Return the policy of each side."""
        return {"source": self.source, "target": self.target}

    @property
    def changes_text(self) -> bool:
        """Tell whether copies of a sentence can differ in their tokens."""
        return any(p.of_tokens or p["subword"] for p in self.policies.values())

    @property
    def subword(self) -> str:
        """Return what decides how much longer sampling makes sentences, as text."""
        values = [policy["subword"] for policy in self.policies.values()]
        if not any(values):
            return "none"
        return f"{values[0]:g} and {values[1]:g} with --bas-subword-nbest {self.subword_nbest}"

    @property
    def labels_differ(self) -> str:
        """Return the noise that gives copies of a sentence other labels, nothing for none."""
        names = [name for name in ("subword", "bigram-labels", "mix") if self.target[name]]
        return f"{FLAG['target']} {names[0]}" if names else ""


def _by_side(models: Optional[str]) -> dict[str, str]:
    if models is None:
        return {}
    source, _, target = models.partition(":")
    return {"source": source, "target": target or source}


def _check_variation(plan: NoisePlan, largest: int) -> None:
    variation = plan.variation
    if not any((variation.clean, variation.graded, variation.complementary)):
        return
    flag = ("clean-replica", "graded-noise", "complementary-noise")[
        (variation.clean, variation.graded, variation.complementary).index(True)
    ]
    if largest == 1:
        raise ValueError(
            f"--bas-{flag} has no meaning with --bas-replicas 1; raise it or leave the flag out"
        )
    if not (plan.source or plan.target):
        raise ValueError(
            f"--bas-{flag} has no meaning without noise; pass {FLAG['source']} or "
            f"{FLAG['target']}, or leave the flag out"
        )
    policies = {FLAG[side]: policy for side, policy in plan.policies.items()}
    for problem in variation.problems(policies, largest):
        raise ValueError(problem)


def _check_split(plan: NoisePlan, largest: int) -> None:
    if plan.output_dropout is not None:
        if plan.split != "output":
            raise ValueError(
                f"--bas-output-dropout {plan.output_dropout} has no meaning with --bas-share "
                f"{plan.split}; pass --bas-share output too, or leave it out"
            )
        if not 0 <= plan.output_dropout < 1:
            raise ValueError(
                f"--bas-output-dropout {plan.output_dropout} is out of range; give a rate in [0, 1)"
            )
    shared = {"input": (), "encoder": ("source",), "output": ("source", "target")}[plan.split]
    for side in shared:
        if plan.policies[side]:
            raise ValueError(
                f"{FLAG[side]} {plan.policies[side]} would be the same in all copies, which share "
                f"that side with --bas-share {plan.split}; leave one of the two out"
            )
    if plan.split == "encoder" and plan.target["subword"]:
        raise ValueError(
            f"{FLAG['target']} subword goes with --bas-share input only; leave one of the two out"
        )


def _check_mix(plan: NoisePlan, largest: int) -> None:
    if plan.source["mix"] != plan.target["mix"]:
        raise ValueError(
            f"mix is {plan.source['mix']:g} for the source and {plan.target['mix']:g} for the "
            f"target, but it mixes whole pairs; give the same mix to {FLAG['source']} and "
            f"{FLAG['target']}"
        )


def _check_subwords(plan: NoisePlan, largest: int) -> None:
    sampled = [side for side, policy in plan.policies.items() if policy["subword"]]
    if sampled and not plan.subword_models:
        raise ValueError(
            f"{FLAG[sampled[0]]} subword={plan.policies[sampled[0]]['subword']:g} has no model to "
            "draw segmentations from; pass --bas-subword-model with the sentencepiece model that "
            "made the data"
        )
    if plan.subword_models and not sampled:
        raise ValueError(
            f"--bas-subword-model is given and no side samples subwords; add subword=0.2 to "
            f"{FLAG['source']}, or leave the model out"
        )
