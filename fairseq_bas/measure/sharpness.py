"""Sharpness of a minimum: how far the loss can rise in a small box around it.

Keskar et al. 2016 (arXiv 1609.04836), Metric 2.1, for parameters x and a matrix A:

    phi = 100 (max_{z in C} f(x + A z) - f(x)) / (1 + f(x))
    C   = {z : |z_i| <= eps (|(A^+ x)_i| + 1)}

The maximum is approximated by 10 iterations of L-BFGS-B. Theirs is the box ``keskar``; for A = I,
the maximum over the box ``adaptive``, |z_i| <= eps |(A^+ x)_i|, does not change when a weight
matrix is scaled up and the next one down (Kwon et al. 2021, arXiv 2102.11600, maximum norm).

Shapes: n parameters, p coordinates z; p = n where A = I.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .loss_surface import LossSurface
from .subspace import Space

BOXES = ("keskar", "adaptive")
SCALINGS = ("box", "none")
PUBLISHED_EPSILONS = (1e-3, 5e-4)
PUBLISHED_ITERATIONS = 10

_FIRST_STEP = 10.0
_START_STREAM = 0x737461  # keeps these draws apart from others that use the same seed


@dataclass(frozen=True)
class SharpnessSettings:
    """How the maximum is sought.

    Attributes:
        box: ``keskar`` or ``adaptive``.
        iterations: of L-BFGS-B from every start, >= 1.
        starts: random points of the box to start from, >= 1; the best result counts. At z = 0 the
            gradient of a minimum vanishes, and a search from there would end at once.
        scaling: ``box``: the search runs in z divided by the half-widths of the box, with f divided
            by a tenth of the mean rise per coordinate at the start, so that its first step crosses
            the box whatever the size of the gradient; ``none``: on z and f as they are, where ten
            steps may be too short to leave the neighbourhood of the start.
        seed: of the starts, >= 0; those of different eps are the same point relative to the box.

    Raises:
        ValueError: if a value has no meaning.
    """

    box: str = "keskar"
    iterations: int = PUBLISHED_ITERATIONS
    starts: int = 3
    scaling: str = "box"
    seed: int = 1

    def __post_init__(self) -> None:
        for name, known in (("box", BOXES), ("scaling", SCALINGS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is not known; pass one of {', '.join(known)}"
                )
        for name in ("iterations", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{getattr(self, name)} {name} find nothing; pass 1 or more")


@dataclass(frozen=True)
class Search:
    """One run of L-BFGS-B.

    Attributes:
        started: f at the random start, nats per token.
        highest: largest f of all points that were evaluated, nats per token.
        iterations: of L-BFGS-B, at most what was asked for.
        evaluations: of f and its gradient.
    """

    started: float
    highest: float
    iterations: int
    evaluations: int


@dataclass(frozen=True)
class Sharpness:
    """The sharpness for one eps.

    Attributes:
        epsilon: eps.
        loss: f(x), nats per token.
        searches: one for every start.
    """

    epsilon: float
    loss: float
    searches: Sequence[Search]

    @property
    def highest(self) -> float:
        """Return the largest f that was found, never below f(x): z = 0 is in the box."""
        return max([self.loss, *(search.highest for search in self.searches)])

    @property
    def phi(self) -> float:
        """Return the sharpness, in per cent of 1 + f(x).

        >>> Sharpness(1e-3, 1.0, [Search(1.1, 1.5, 10, 12)]).phi
        25.0
        """
        return 100 * (self.highest - self.loss) / (1 + self.loss)

    @property
    def evaluations(self) -> int:
        """Return how often f and its gradient were evaluated in all searches."""
        return sum(search.evaluations for search in self.searches)


def half_widths(coordinates: np.ndarray, epsilon: float, box: str = "keskar") -> np.ndarray:
    """Return how far each coordinate may move to either side.

    Args:
        coordinates: (p,) float64, A^+ x.
        epsilon: eps > 0.
        box: ``keskar``: eps (|c_i| + 1); ``adaptive``: eps |c_i|.

    Returns:
        (p,) float64.

    Raises:
        ValueError: if eps is not positive.

    >>> half_widths(np.array([0.0, -3.0]), 0.5).tolist()
    [0.5, 2.0]
    >>> half_widths(np.array([0.0, -3.0]), 0.5, "adaptive").tolist()
    [0.0, 1.5]
    """
    if not 0 < epsilon < np.inf:
        raise ValueError(f"epsilon {epsilon:g} makes no box; pass a positive number such as 1e-3")
    return epsilon * (np.abs(coordinates) + (1 if box == "keskar" else 0))


def measure_sharpness(
    surface: LossSurface,
    space: Space,
    epsilon: float,
    settings: SharpnessSettings | None = None,
    on_evaluation: Callable[[], None] | None = None,
) -> Sharpness:
    """Measure the sharpness of a loss surface where it stands.

    The surface is evaluated in the dtype of its parameters; the search runs in float64.

    Args:
        surface: the loss, a mean over tokens; its parameters are there again afterwards.
        space: the space of A.
        epsilon: eps > 0.
        settings: how the maximum is sought.
        on_evaluation: called after every evaluation of f and its gradient.

    Returns:
        The result.

    Raises:
        ValueError: if the loss is not finite somewhere in the box.
    """
    settings = settings or SharpnessSettings()
    point = surface.point()
    widths = half_widths(space.coordinates(point), epsilon, settings.box)

    def climb(coordinates: np.ndarray) -> tuple[float, np.ndarray]:
        surface.move_to(point + space.displacement(coordinates))
        loss, gradient = surface.loss_and_gradient()
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} within the box of eps {epsilon:g}; pass a smaller --epsilon "
                "or a checkpoint that has not diverged"
            )
        if on_evaluation is not None:
            on_evaluation()
        return loss, space.pull_back(gradient)

    with surface.moved(point):
        # With its gradient, as everywhere else: other kernels would round it in another way.
        loss, _ = surface.loss_and_gradient()
        searches = [
            _search(climb, widths, _start(settings.seed, number, widths), settings)
            for number in range(settings.starts)
        ]
    return Sharpness(epsilon, loss, searches)


def _start(seed: int, number: int, widths: np.ndarray) -> np.ndarray:
    """Return a point drawn uniformly from the box."""
    generator = np.random.default_rng([seed, _START_STREAM, number])
    return widths * generator.uniform(-1, 1, len(widths))


def _search(
    climb: Callable[[np.ndarray], tuple[float, np.ndarray]],
    widths: np.ndarray,
    start: np.ndarray,
    settings: SharpnessSettings,
) -> Search:
    """Maximise by L-BFGS-B and keep the highest point of all that it tried."""
    from scipy.optimize import minimize

    first, gradient = climb(start)
    losses = [first]
    scaled = settings.scaling == "box"
    unit = widths if scaled else np.ones_like(widths)
    rise = np.mean(np.abs(gradient) * unit) / _FIRST_STEP if scaled else 1.0
    rise = rise or 1.0  # a flat start; there is nothing to scale
    known = start / np.where(unit > 0, unit, 1)

    def descend(scaled_point: np.ndarray) -> tuple[float, np.ndarray]:
        # L-BFGS-B asks first for the start, which is known.
        if np.array_equal(scaled_point, known):
            loss, slope = first, gradient
        else:
            loss, slope = climb(np.clip(scaled_point * unit, -widths, widths))
            losses.append(loss)
        return -loss / rise, -slope * unit / rise

    bounds = np.where(widths > 0, 1.0, 0.0) if scaled else widths
    result = minimize(
        descend,
        known,
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([-bounds, bounds], axis=1),
        # The slope of one coordinate means another thing for every size of model, so it is no end.
        options={"maxiter": settings.iterations, "gtol": 0.0},
    )
    return Search(first, max(losses), int(result.nit), len(losses))
