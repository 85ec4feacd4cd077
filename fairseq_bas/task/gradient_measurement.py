"""Measure the noise of the gradient in some updates of a run, from gradients these have anyway.

Shapes: B sentences of a micro-batch, M replicas, P passes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from ..measure.adascale import gain_with_copies
from ..measure.gradient_probe import GradientProbe, moments_from_log
from ..measure.noise_scale import NoiseScaleEstimate, variance_and_squared_gradient
from ..measure.tracker import NoiseScaleTracker
from ..measure.two_level import estimate
from ..replicate import Placement, select_rows

DEFAULT_INTERVAL = 10


class GradientMeasurement:
    """Run the probe in every k-th update, and average what it finds.

    In a measured update, copies that would run side by side run as two groups, so that what
    differs between them is seen; this changes rounding only (and, by its key, the model's own
    dropout). A micro-batch that is alone in its update is run as two halves, every other sentence.

    Attributes:
        tracker: the averages.
        latest: what the last update told, None if it was not measured or could not tell.
        gradient_norm: of the whole gradient of a measured update, before clipping.
        loss_scale: what half precision multiplies the loss by in this update.
        passes: P, in which each worker ran the copies of the last micro-batch.

    Args:
        every: k; None for `DEFAULT_INTERVAL` where something needs measurements, 0 for never.
    """

    def __init__(self, every: int | None):
        if every is not None and every < 0:
            raise ValueError(
                f"--bas-measure-every {every} is negative; pass a number of updates, or 0 for never"
            )
        self._given = every
        self.every = every or 0
        self.tracker = NoiseScaleTracker()
        self.probe: GradientProbe | None = None
        self.gradient_norm: float | None = None
        self.latest: NoiseScaleEstimate | None = None
        self.passes = 1
        self._active = False
        self.loss_scale = 1.0
        self._sums: dict[str, float] = {}

    def require(self, by: str, every: int | None = None) -> None:
        """Measure because ``by`` (a flag) needs it.

        Args:
            by: the flag.
            every: k that it needs; None for the user's, or `DEFAULT_INTERVAL`.

        Raises:
            ValueError: if the user said otherwise.
        """
        if every is not None and self._given not in (None, every):
            raise ValueError(
                f"{by} needs the gradient noise scale of every update, and --bas-measure-every "
                f"{self._given} does not measure it; leave it out"
            )
        if self._given == 0:
            raise ValueError(
                f"{by} needs the gradient noise scale, and --bas-measure-every 0 never measures "
                f"it; leave it out, or pass --bas-measure-every {DEFAULT_INTERVAL}"
            )
        self.every = every or self._given or DEFAULT_INTERVAL

    def measures(self, update_num: int) -> bool:
        """Tell whether the update after ``update_num`` updates is measured."""
        return self.every > 0 and update_num % self.every == 0

    @property
    def active(self) -> bool:
        """Tell whether the update that is being made is measured."""
        return self._active

    def begin_update(self, update_num: int, parameters: Any) -> None:
        """Get ready for an update: listen to its gradients, or stop listening."""
        self.gradient_norm, self.latest, self._sums = None, None, {}
        self._active = self.measures(update_num)
        if self._active:
            self.probe = self.probe or GradientProbe(list(parameters))
        elif self.probe is not None:
            self.probe.remove()
            self.probe = None

    def placement(self, placement: Placement, keeps_rows: bool) -> Placement:
        """Return a placement of the copies that shows what differs between them.

        Args:
            placement: of an update that is not measured.
            keeps_rows: True where the loss compares the copies of a pass.
        """
        if self._active and not keeps_rows and placement.passes == 1 and placement.rows > 1:
            rows = placement.rows // 2 if placement.rows % 2 == 0 else 1
            placement = Placement(placement.replicas, placement.workers, rows)
        return placement

    def halves(self, sample: dict[str, Any], padding: int) -> list[dict[str, Any]]:
        """Return the halves of a micro-batch, or itself where it cannot be divided.

        Args:
            sample: the only mini-batch of a measured update.
            padding: the label of no word.
        """
        divisible = sample.get("nsentences", 0) > 1 and not sample.get("is_empty", False)
        bound = {"made_replicas", "window", "alignments"} & sample.keys()
        if not divisible or bound:
            return [sample]
        return [_every_other(sample, first, padding) for first in (0, 1)]

    def measured(self, passes: int) -> "_Measured":
        """Return what records one micro-batch; nothing in an update that is not measured."""
        self.passes = passes
        return _Measured(self, passes)

    def _record(self, passes: int) -> Any:
        """Begin a micro-batch; return its probe, or None if it is not measured."""
        if not self._active or self.probe is None:
            return None
        self.probe.begin(passes)
        return self.probe

    def _finish(self, sample_size: Any) -> dict[str, torch.Tensor]:
        log = self.probe.finish(sample_size, self.loss_scale)
        for key, value in log.items():
            self._sums[key] = self._sums.get(key, 0) + value
        return log

    def so_far(self, parameters: Sequence[torch.nn.Parameter]) -> tuple[float, float] | None:
        """Return S and ``|G|^2`` from the gradients that the present update has so far.

        Each worker estimates from its own micro-batches; the mean over workers is unbiased too.

        Args:
            parameters: whose ``.grad`` is the sum over this worker's micro-batches.

        Returns:
            The same on all workers; None if no worker has two micro-batches.
        """
        moments = moments_from_log(self._sums)
        found = torch.zeros(3, dtype=torch.float64)
        if moments.micro_batches > 1:
            # In float32: the norm of a gradient of half precision, scaled, is beyond its range.
            norms = [
                torch.linalg.vector_norm(p.grad, dtype=_wide(p.grad.dtype))
                for p in parameters
                if p.grad is not None
            ]
            mean = (
                float(torch.linalg.vector_norm(torch.stack(norms)))
                / self.loss_scale
                / moments.tokens
            )
            found[:2] = torch.tensor(variance_and_squared_gradient(moments, mean**2))
            found[2] = 1
        if dist.is_available() and dist.is_initialized():
            found = found.to("cuda" if dist.get_backend() == "nccl" else "cpu")
            dist.all_reduce(found)
        variance, squared_gradient, workers = found.tolist()
        return (variance / workers, squared_gradient / workers) if workers else None

    def observe(self, sums: dict[str, float], replicas: int, passes: int, sharing: int) -> None:
        """Take the sums over the micro-batches of all workers into the averages.

        Args:
            sums: of what `measured` logged.
            replicas: M.
            passes: P on each worker.
            sharing: workers that share the copies of a micro-batch.
        """
        if self.gradient_norm is None:
            return
        moments = moments_from_log(sums)
        self.latest = estimate(moments, self.gradient_norm**2, replicas, passes, sharing)
        if self.latest is not None:
            self.tracker.observe(self.latest)

    def effective_factor(self, replicas: int) -> float:
        """Return how many times its size the batch with copies is worth; 1 until it is known."""
        return self.tracker.effective_factor(replicas) or 1.0

    def gain(self, kappa: float, reference_tokens: float, replicas: int) -> float:
        """Return AdaScale's gain of a batch of kappa times the reference; 1 until it is known."""
        variance, squared_gradient = self.tracker.variance, self.tracker.squared_gradient
        if variance is None or squared_gradient is None:
            return 1.0
        between, within = self.tracker.between, self.tracker.within
        if between is None or within is None:
            between, within, replicas = variance, 0.0, 1
        tokens = kappa * reference_tokens
        gain = gain_with_copies(
            between, within, squared_gradient, reference_tokens, tokens, replicas
        )
        return max(1.0, gain)

    def state_dict(self) -> dict[str, float]:
        """Return the averages."""
        return self.tracker.state_dict()

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Restore the averages."""
        self.tracker.load_state_dict(state_dict)


class _Measured:
    """Record the gradients of one micro-batch, pass by pass; nothing if it is not measured."""

    def __init__(self, measurement: GradientMeasurement, passes: int):
        self._measurement = measurement
        self._probe = measurement._record(passes)

    def next_pass(self) -> None:
        if self._probe is not None:
            self._probe.next_pass()

    def log(self, sample_size: Any) -> dict[str, torch.Tensor]:
        return {} if self._probe is None else self._measurement._finish(sample_size)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _every_other(sample: dict[str, Any], first: int, padding: int) -> dict[str, Any]:
    """Return half of the sentences of a padded mini-batch."""
    rows = torch.arange(first, sample["id"].size(0), 2, device=sample["id"].device)
    half = select_rows(sample, rows)
    tokens = int(half["target"].ne(padding).sum())
    return {
        **half,
        "nsentences": len(rows),
        "ntokens": sample["ntokens"] * 0 + tokens,  # a number or a tensor, as it was
        "first_sentence": int(half["id"].min()),
    }
