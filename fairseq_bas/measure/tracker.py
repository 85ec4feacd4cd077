"""Averages over updates of what single updates tell about the noise of the gradient."""

from dataclasses import dataclass

from .noise_scale import NoiseScaleEstimate, noise_scale
from .two_level import between_variance, effective_batch_factor


@dataclass
class _Average:
    """An exponential average: the weighted sum of the values, and the sum of the weights."""

    sum: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float | None:
        return self.sum / self.weight if self.weight > 0 else None

    def add(self, value: float, decay: float) -> None:
        self.sum = decay * self.sum + (1 - decay) * value
        self.weight = decay * self.weight + (1 - decay)

    def shift(self, difference: float) -> None:
        """Change the average as if every value so far had been larger by ``difference``."""
        self.sum += self.weight * difference


class NoiseScaleTracker:
    r"""Average S, ``|G|^2`` and t_w over updates, each by itself.

    :math:`a_t = d\,a_{t-1} + (1-d)\,x_t`, divided by the sum of the weights, :math:`1 - d^t`, so
    that the first updates count in full. The noise scale is the ratio of the averages and never an
    average of ratios, which noise in the denominator would bias.

    When the number of copies changes, S is carried over by t_w (S = t_b + t_w / M); where t_w is
    not known, the average of S starts afresh.

    Args:
        decay: d in [0, 1); the average looks back over about 1 / (1 - d) measurements.
        minimum: measurements before any average is given, >= 1.

    Raises:
        ValueError: if an argument is out of its range.

    >>> tracker = NoiseScaleTracker(decay=0.9, minimum=2)
    >>> tracker.observe(NoiseScaleEstimate(variance=20.0, squared_gradient=0.5, tokens=100))
    >>> tracker.noise_scale is None
    True
    >>> tracker.observe(NoiseScaleEstimate(variance=20.0, squared_gradient=-0.1, tokens=100))
    >>> round(tracker.noise_scale)
    109
    """

    def __init__(self, decay: float = 0.95, minimum: int = 5):
        if not 0 <= decay < 1:
            raise ValueError(f"a decay of {decay} is not in [0, 1); 0.95 averages about 20 updates")
        if minimum < 1:
            raise ValueError(f"a minimum of {minimum} measurements is too small; use 1 or more")
        self.decay, self.minimum = decay, minimum
        self._variance, self._signal, self._within = _Average(), _Average(), _Average()
        self._replicas, self._observed = 1, 0

    def observe(self, estimate: NoiseScaleEstimate) -> None:
        """Take in what one measured update told.

        Args:
            estimate: all its numbers finite, as `two_level.estimate` gives them.
        """
        if estimate.replicas != self._replicas:
            self._change_replicas(estimate.replicas)
        self._variance.add(estimate.variance, self.decay)
        self._signal.add(estimate.squared_gradient, self.decay)
        if estimate.within is not None:
            self._within.add(estimate.within, self.decay)
        self._observed += 1

    def _change_replicas(self, replicas: int) -> None:
        within = self._within.value
        if within is None:
            self._variance = _Average()
        else:
            self._variance.shift(within * (1 / replicas - 1 / self._replicas))
        self._replicas = replicas

    def _if_enough(self, average: "_Average") -> float | None:
        return average.value if self._observed >= self.minimum else None

    @property
    def variance(self) -> float | None:
        """Return S per token of the mean over the copies, clipped at 0; None until enough."""
        value = self._if_enough(self._variance)
        return None if value is None else max(value, 0.0)

    @property
    def squared_gradient(self) -> float | None:
        """Return ``|G|^2``, which can be negative; None until enough."""
        return self._if_enough(self._signal)

    @property
    def within(self) -> float | None:
        """Return t_w per token of one copy, clipped at 0; None until enough or if not measured."""
        value = self._if_enough(self._within)
        return None if value is None else max(value, 0.0)

    @property
    def between(self) -> float | None:
        """Return t_b = S - t_w / M per token, clipped at 0; None until enough or without t_w."""
        variance, within = self._if_enough(self._variance), self._if_enough(self._within)
        if variance is None or within is None:
            return None
        return max(between_variance(variance, within, self._replicas), 0.0)

    @property
    def noise_scale(self) -> float | None:
        """Return S / ``|G|^2`` in tokens; None until enough or where ``|G|^2`` is not positive."""
        variance, signal = self._if_enough(self._variance), self._if_enough(self._signal)
        return None if variance is None or signal is None else noise_scale(variance, signal)

    def effective_factor(self, replicas: int) -> float | None:
        """Return B_eff / B that M copies have or would have, in [1, M].

        Args:
            replicas: M, in use or not.

        Returns:
            The factor of `two_level.effective_batch_factor`; 1 for M = 1; None until enough, or if
            t_w was not measured.
        """
        if replicas == 1:
            return 1.0
        between, within = self.between, self.within
        if between is None or within is None:
            return None
        return effective_batch_factor(between, within, replicas)

    def state_dict(self) -> dict[str, float]:
        """Return all averages as plain numbers."""
        state: dict[str, float] = {"replicas": self._replicas, "observed": self._observed}
        for name in ("variance", "signal", "within"):
            average: _Average = getattr(self, f"_{name}")
            state[f"{name}_sum"], state[f"{name}_weight"] = average.sum, average.weight
        return state

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned; ``decay`` and ``minimum`` stay as they are."""
        self._replicas, self._observed = int(state["replicas"]), int(state["observed"])
        for name in ("variance", "signal", "within"):
            setattr(self, f"_{name}", _Average(state[f"{name}_sum"], state[f"{name}_weight"]))
