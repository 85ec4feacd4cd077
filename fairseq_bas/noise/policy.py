"""Noise policies, ``drop=0.1,shuffle=3``, and how they vary over the copies of a sentence.

The table of noises is the one place that says what a noise is called, which values it takes and on
which sides it makes sense.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .keyed import RowKeys
from .vocabulary import Vocabulary
from .words import Words

SIDES = ("source", "target")


def _is_rate(value: float) -> bool:
    return 0 <= value < 1


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf


def _is_distance(value: float) -> bool:
    return 0 <= value < math.inf and value == int(value)


@dataclass(frozen=True)
class Noise:
    """Describe one noise.

    Args:
        allows: tells whether a value is in range.
        range: that range in words.
        excluded: why a side cannot have it, by side.
        hides: True if its rate is a share of words, which complementary copies divide up.
        graded: True if ``--bas-graded-noise`` multiplies its value.
        change: of a noise that `register_noise` added: (tokens (R, T) int64, their `Words`,
            `RowKeys`, value of each row (R,) float64, `Vocabulary`) -> tokens (R, T).
    """

    allows: Callable[[float], bool]
    range: str
    excluded: Mapping[str, str] = field(default_factory=dict)
    hides: bool = False
    graded: bool = True
    change: Callable[[Tensor, Words, RowKeys, Tensor, Vocabulary], Tensor] | None = None


RATE = (_is_rate, "a rate in [0, 1)")
NOISES = {
    "drop": Noise(
        *RATE, {"target": "what is dropped there would no longer be aligned with its label"}, True
    ),
    "mask": Noise(*RATE, hides=True),
    "replace": Noise(*RATE, hides=True),
    "cutoff": Noise(*RATE, hides=True),
    "shuffle": Noise(
        _is_distance,
        "a whole number of words",
        {"target": "it would move a label into the decoder's view before it is predicted"},
    ),
    "switchout": Noise(_is_positive, "a temperature above 0"),
    "bigram": Noise(*RATE),
    "bigram-labels": Noise(*RATE, {"source": "it has no labels"}),
    "feature-cutoff": Noise(*RATE),
    "span-cutoff": Noise(*RATE),
    "jitter": Noise(_is_positive, "a share above 0 of an embedding's size"),
    "mix": Noise(_is_positive, "the parameter above 0 of a Beta distribution", graded=False),
    "subword": Noise(_is_positive, "a number above 0", graded=False),
}
EMBEDDING_NOISES = ("cutoff", "feature-cutoff", "span-cutoff", "jitter", "mix")
"""Noises of embeddings; all others but ``subword`` are noises of tokens."""


def register_noise(name: str, noise: Noise) -> None:
    """Add a noise of tokens, which users then write as ``name=value`` on the sides it allows.

    It comes after the noises that are here and before dropped words leave, in the order of
    registration. It draws by ``noise.keyed.uniform(keys.copy, name, T)`` and from nothing else:
    then it is the same in any placement, batch and loader process, and after any restart.

    Args:
        name: letters, digits and hyphens.
        noise: with ``change``.

    Raises:
        ValueError: if there is a noise of this name, or nothing that changes tokens.
    """
    if name in NOISES:
        raise ValueError(f"there is a noise {name} already; choose another name")
    if noise.change is None:
        raise ValueError(f"the noise {name} changes nothing; give change, a function of tokens")
    NOISES[name] = noise


@dataclass(frozen=True)
class NoisePolicy:
    """Hold the noises of one side, by name; those that are not there have the value 0."""

    values: Mapping[str, float] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        return self.values.get(name, 0.0)

    def __bool__(self) -> bool:
        return any(self.values.values())

    def __str__(self) -> str:
        return ",".join(f"{name}={value:g}" for name, value in self.values.items()) or "none"

    def any_of(self, *names: str) -> bool:
        """Tell whether one of these noises is on."""
        return any(self[name] for name in names)

    @property
    def of_tokens(self) -> bool:
        """Tell whether a noise changes tokens, subword sampling aside."""
        return self.any_of(*(set(NOISES) - {"subword", *EMBEDDING_NOISES}))

    @property
    def hidden(self) -> float:
        """Return the share of words that one copy hides at strength 1."""
        return sum(value for name, value in self.values.items() if NOISES[name].hides)


def parse_noise(text: str, flag: str, side: str) -> NoisePolicy:
    """Parse ``name=value,name=value``; ``none`` and nothing are no noise.

    Args:
        text: what the user wrote.
        flag: the flag it was written for, to be named in errors.
        side: ``source`` or ``target``.

    Returns:
        The policy.

    Raises:
        ValueError: one sentence with the flag, what is wrong and what to do.

    >>> str(parse_noise("drop=0.1, shuffle=3", "--bas-source-noise", "source"))
    'drop=0.1,shuffle=3'
    >>> parse_noise("drop=1.5", "--bas-source-noise", "source")
    Traceback (most recent call last):
    ValueError: --bas-source-noise drop=1.5: the value is out of range; give a rate in [0, 1)
    """
    values: dict[str, float] = {}
    for part in text.split(",") if text.strip() not in ("", "none") else []:
        name, value = _parse_one(part.strip(), flag, side)
        if name in values:
            raise ValueError(f"{flag} {text}: {name} is there twice; write it once")
        values[name] = value
    policy = NoisePolicy(values)
    if policy.hidden > 1:
        raise ValueError(
            f"{flag} {text}: drop, mask, replace and cutoff happen to different words and add up "
            f"to {policy.hidden:g}; lower them to a sum of at most 1"
        )
    return policy


def _parse_one(part: str, flag: str, side: str) -> tuple[str, float]:
    name, equals, written = part.partition("=")
    noise = NOISES.get(name)
    if noise is None:
        known = ", ".join(name for name, noise in NOISES.items() if side not in noise.excluded)
        raise ValueError(f"{flag} {part}: there is no noise {name!r}; use {known}")
    if side in noise.excluded:
        raise ValueError(
            f"{flag} {part}: {name} is no noise of the {side} side, {noise.excluded[side]}; "
            f"use it on the other side or leave it out"
        )
    try:
        value = float(written)
    except ValueError:
        missing = "the value is not a number" if equals else "the value is missing"
        raise ValueError(f"{flag} {part}: {missing}; give {noise.range}") from None
    if not noise.allows(value):
        raise ValueError(f"{flag} {part}: the value is out of range; give {noise.range}")
    return name, value


@dataclass(frozen=True)
class Variation:
    """Say how the noise varies over the M copies of a sentence.

    With neither ``clean`` nor ``graded`` every copy has strength 1. With ``clean`` copy 0 has
    strength 0. With ``graded`` the strengths of the n noisy copies are 2k / (n + 1) for k = 1 .. n:
    evenly spaced, with mean 1. A strength multiplies rates, temperatures and distances.

    Args:
        clean: copy 0 has no noise of ours.
        graded: later copies have more noise.
        complementary: a word is hidden (dropped, masked, replaced or cut off) in at most one copy.
    """

    clean: bool = False
    graded: bool = False
    complementary: bool = False

    def strengths(self, num_replicas: int) -> list[float]:
        """Return the strength of each copy.

        >>> Variation(clean=True, graded=True).strengths(4)
        [0.0, 0.5, 1.0, 1.5]
        """
        noisy = num_replicas - self.clean
        ramp = [2 * k / (noisy + 1) if self.graded else 1.0 for k in range(1, noisy + 1)]
        return [0.0] * self.clean + ramp

    def offsets(self, hidden: float, num_replicas: int) -> list[float]:
        """Return where in [0, 1) the interval of draws begins in which a copy hides a word.

        The copies' intervals lie end to end, so one draw for all copies falls into one at most.

        Args:
            hidden: share of words hidden at strength 1.
            num_replicas: M.
        """
        ends = [0.0]
        for strength in self.strengths(num_replicas):
            ends.append(ends[-1] + hidden * strength)
        return ends[:-1]

    def problems(self, policies: Mapping[str, NoisePolicy], num_replicas: int) -> Iterator[str]:
        """Yield a sentence for each reason why these policies cannot vary so over M copies."""
        strengths = self.strengths(num_replicas)
        for flag, policy in policies.items():
            if self.complementary and policy.hidden * sum(strengths) > 1 + 1e-9:
                yield (
                    f"{flag} {policy} hides {policy.hidden:g} of the words in each of "
                    f"{num_replicas} copies, too many for --bas-complementary-noise; lower the "
                    f"rates to a sum of at most {1 / sum(strengths):.3g}"
                )
            for name in ("drop", "mask", "replace", "cutoff", "feature-cutoff", "span-cutoff"):
                if policy[name] * max(strengths) > 1:
                    yield (
                        f"{flag} {name}={policy[name]:g} exceeds 1 in the strongest of "
                        f"{num_replicas} copies with --bas-graded-noise; lower it to at most "
                        f"{1 / max(strengths):.3g}"
                    )
