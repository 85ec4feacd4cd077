"""Settings of the neural cache and of dynamic evaluation, and the values tried around them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

PUBLISHED_SEGMENT = 5
PUBLISHED_LR = 5e-5
PUBLISHED_DECAY = 0.002

THETA_FACTORS = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2)
WEIGHT_FACTORS = (0, 1 / 4, 1 / 2, 1, 3 / 2, 2, 3)
LR_FACTORS = (1 / 4, 1 / 2, 1, 2, 4)
DECAY_FACTORS = (0, 1 / 2, 1, 2)


@dataclass(frozen=True)
class CacheSettings:
    """Settings of ``nn.neural_cache``; the defaults are AWD-LSTM's for the Penn Treebank.

    Attributes:
        window: pairs of hidden state and word remembered, >= 1.
        theta: sharpness, >= 0.
        weight: lambda, the share of the cache in the mixture, in [0, 1).
    """

    window: int = 3785
    theta: float = 0.6625523432485668
    weight: float = 0.12785920428335693

    def thetas(self) -> list[float]:
        """Return values of theta to try."""
        return [self.theta * factor for factor in THETA_FACTORS]

    def weights(self) -> list[float]:
        """Return values of lambda to try.

        >>> CacheSettings(weight=0.4).weights()
        [0.0, 0.1, 0.2, 0.4, 0.6000000000000001, 0.8]
        """
        weights = (self.weight * factor for factor in WEIGHT_FACTORS)
        return [weight for weight in weights if weight < 1]

    def text(self) -> str:
        """Return the settings as one line.

        >>> CacheSettings().text()
        'window 3785, theta 0.662552, lambda 0.127859'
        """
        return f"window {self.window}, theta {self.theta:.6g}, lambda {self.weight:.6g}"


@dataclass(frozen=True)
class DynamicSettings:
    """Settings of ``nn.dynamic_evaluation``; the defaults are the authors' for AWD-LSTM.

    Attributes:
        lr: learning rate, > 0.
        decay: pull back to the trained parameters, >= 0.
        segment: tokens between two updates, >= 1.
        rule: ``rms`` or ``sgd``.
        epsilon: added to the root of the mean squared gradients, > 0; only for ``rms``.
        streams: streams side by side in a mini-batch of the gradient statistics, each of
            ``segment`` tokens, >= 1; fewer if the training text is short. Only for ``rms``.
    """

    lr: float = PUBLISHED_LR
    decay: float = PUBLISHED_DECAY
    segment: int = PUBLISHED_SEGMENT
    rule: str = "rms"
    epsilon: float = 2e-5
    streams: int = 100

    def lrs(self) -> list[float]:
        """Return learning rates to try."""
        return [self.lr * factor for factor in LR_FACTORS]

    def decays(self) -> list[float]:
        """Return decays to try; beyond 1 plain SGD would overshoot."""
        decays = [self.decay * factor for factor in DECAY_FACTORS]
        return sorted({decay for decay in decays if self.rule == "rms" or decay <= 1})

    def text(self) -> str:
        """Return the settings as one line.

        >>> DynamicSettings().text()
        'rms, lr 5e-05, decay 0.002, segment 5, epsilon 2e-05, statistics in 100 streams'
        """
        line = f"{self.rule}, lr {self.lr:.6g}, decay {self.decay:.6g}, segment {self.segment}"
        if self.rule == "rms":
            line += f", epsilon {self.epsilon:g}, statistics in {self.streams} streams"
        return line


def dynamic_settings(
    rule: str | None = None,
    segment: int | None = None,
    lr: float | None = None,
    decay: float | None = None,
    epsilon: float | None = None,
    streams: int | None = None,
) -> DynamicSettings:
    """Fill in what was not given, None, with what was published.

    As in the grid of the authors' program, lr and decay of the rule ``rms`` grow with the segment.

    Args:
        rule: ``rms`` or ``sgd``.
        segment: tokens between two updates.
        lr: needed for ``sgd``, for which none was published.
        decay: 0 for ``sgd``.
        epsilon: only for ``rms``.
        streams: only for ``rms``.

    Returns:
        The settings.

    Raises:
        ValueError: if a value is missing, has no meaning or holds no token.

    >>> dynamic_settings(segment=20).lr
    0.0002
    """
    segment = PUBLISHED_SEGMENT if segment is None else segment
    if segment < 1:
        raise ValueError(f"--dynamic-segment {segment} holds no token; pass 1 or more")
    if streams is not None and streams < 1:
        raise ValueError(f"--dynamic-streams {streams} reads nothing; pass 1 or more")
    if rule != "sgd":
        share = segment / PUBLISHED_SEGMENT
        lr = PUBLISHED_LR * share if lr is None else lr
        decay = PUBLISHED_DECAY * share if decay is None else decay
        settings = DynamicSettings(lr, decay, segment)
        return replace(
            settings,
            epsilon=settings.epsilon if epsilon is None else epsilon,
            streams=settings.streams if streams is None else streams,
        )
    for name, value in (("epsilon", epsilon), ("streams", streams)):
        if value is not None:
            raise ValueError(
                f"--dynamic-{name} {value} has no meaning with --dynamic-rule sgd; leave it out"
            )
    if lr is None:
        raise ValueError("--dynamic-rule sgd has no published learning rate; pass --dynamic-lr")
    return DynamicSettings(lr, decay or 0.0, segment, rule)


def edge_of(chosen: float, tried: Sequence[float]) -> bool:
    """Tell whether a value is the least positive or the largest of those tried.

    >>> [edge_of(value, [0, 1, 2, 4]) for value in (0, 1, 2, 4)]
    [False, True, False, True]
    """
    positive = [value for value in tried if value > 0]
    return len(positive) > 1 and chosen in (min(positive), max(positive))
