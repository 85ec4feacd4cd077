"""What to compare and at what price, read from the options of ``replica-variance``."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

MOST_REPLICAS = 4096


@dataclass(frozen=True)
class NoiseSetting:
    """Hold a kind of noise to measure.

    Attributes:
        name: for tables.
        flags: of fairseq-train, beside those of the run without its noise; None for the run as it
            is.
    """

    name: str
    flags: tuple[str, ...] | None


DROPOUT = NoiseSetting("dropout", ())
"""The model's own noise: all that is left without flags."""

RUN = NoiseSetting("run", None)
"""The noise of the checkpoint's run."""


def parse_noise_setting(text: str) -> NoiseSetting:
    """Read one ``--noise``: flags, or a name, an equals sign and flags.

    Args:
        text: such as ``"drop = --bas-source-noise drop=0.1"``.

    Raises:
        ValueError: if there are no flags, or the name is taken.

    >>> parse_noise_setting("words = --bas-source-noise drop=0.1")
    NoiseSetting(name='words', flags=('--bas-source-noise', 'drop=0.1'))
    >>> parse_noise_setting("--dropout 0.3").name
    '--dropout 0.3'
    """
    head, equals, rest = text.partition("=")
    named = bool(equals) and not head.lstrip().startswith("-")
    name, flags = (head.strip(), rest) if named else (text.strip(), text)
    try:
        words = tuple(shlex.split(flags))
    except ValueError as error:
        raise ValueError(f"--noise {text!r} cannot be read ({error}); close the quotes") from None
    if not words or not words[0].startswith("-") or not name:
        raise ValueError(
            f"--noise {text!r} holds no flag; pass flags of fairseq-train, such as "
            '--noise "drop = --bas-source-noise drop=0.1"'
        )
    if name in (DROPOUT.name, RUN.name):
        raise ValueError(f"--noise {text!r}: {name} is measured anyway; choose another name")
    return NoiseSetting(name, words)


def parse_noise_settings(texts: Sequence[str]) -> list[NoiseSetting]:
    """Read all ``--noise``.

    Args:
        texts: as the user gave them.

    Raises:
        ValueError: if one cannot be read, or two have the same name.
    """
    settings = [parse_noise_setting(text) for text in texts]
    names = [setting.name for setting in settings]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--noise {name} is there twice; give each another name")
    return settings


def parse_replicas(text: str) -> list[int]:
    """Read ``--replicas``.

    Args:
        text: such as ``1,2,4``.

    Returns:
        The numbers of copies in rising order; 1 is always among them.

    Raises:
        ValueError: if one is no whole number in range.

    >>> parse_replicas("8,2")
    [1, 2, 8]
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() and 0 < int(word) <= MOST_REPLICAS for word in words):
        raise ValueError(
            f"--replicas {text} is no list of whole numbers from 1 to {MOST_REPLICAS}; pass such "
            "as 1,2,4,8"
        )
    return sorted({1, *(int(word) for word in words)})


def parse_cost(text: str) -> str | dict[int, float]:
    """Read ``--cost``.

    Args:
        text: ``passes``, ``rows``, or prices such as ``2=1.6,4=2.9``.

    Returns:
        The word, or M -> price of an update relative to M = 1.

    Raises:
        ValueError: if it is neither.

    >>> parse_cost("2=1.6,4=2.9"), parse_cost("rows")
    ({2: 1.6, 4: 2.9}, 'rows')
    """
    if text in ("passes", "rows"):
        return text
    prices = {}
    for pair in text.split(","):
        replicas, _, price = pair.partition("=")
        try:
            prices[int(replicas)] = float(price)
        except ValueError:
            prices[0] = 0.0
    if min(prices) < 1 or not all(0 < price < float("inf") for price in prices.values()):
        raise ValueError(
            f"--cost {text} is neither passes nor rows nor prices of numbers of copies; pass such "
            "as 2=1.6,4=2.9"
        )
    return prices
