"""The batch schedules that users write by name, and what each of them takes.

This table is the one place that says what a schedule is called and what its keys are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .absa import Absa
from .adabatch import PUBLISHED_DECAY, AdaBatch
from .amount import Amount, Span, parse_span
from .bounds import Bounds, Pace
from .cabs import Cabs
from .controller import BatchController
from .follow_decay import FollowDecay, FollowLr, Seesaw, Smith
from .noise_scale import NoiseScale
from .norm_test import NormTest
from .options import Key, amount, number, rounding, span, updates
from .ramp import Ramp

Options = Mapping[str, Any]
PLAIN = Amount(1.0)


@dataclass(frozen=True)
class Form:
    """Describe one schedule: how to build it, what it takes and a correct example."""

    build: Callable[[Options], BatchController]
    keys: Mapping[str, Key]
    example: str


def _above(low: float, meaning: str, default: float | None = None, required: bool = False) -> Key:
    read = number(lambda value: value > low, f"a number above {low:g}")
    return Key(read, default, required, meaning)


def _ramp(name: str) -> Callable[[Options], BatchController]:
    def build(options: Options) -> BatchController:
        start, end, over = options["from"], options["to"], options["over"]
        exponent = options.get("exponent", 1.0)
        return Ramp(start, end, over, exponent, _bounds(options), name)

    return build


def _adabatch(options: Options) -> BatchController:
    factor, decay = options["factor"], options["decay"]
    if decay is None:
        decay = PUBLISHED_DECAY * factor
    if decay > factor:
        raise ValueError(
            f"decay={decay:g} exceeds factor={factor:g}, so the learning rate per batch would "
            "grow; lower decay"
        )
    return AdaBatch(factor, options["every"], decay, _bounds(options, PLAIN))


def _absa(options: Options) -> BatchController:
    return Absa(
        options["every"],
        options["drop"],
        options["factor"],
        int(options["patience"]),
        options["adversarial"],
        options["relax"],
        options["until"],
        int(options["sentences"]),
        _bounds(options, PLAIN),
    )


def _follower(kind: type[FollowDecay]) -> Callable[[Options], BatchController]:
    return lambda options: kind(_bounds(options, PLAIN))


def _noise_scale(options: Options) -> BatchController:
    return NoiseScale(options["fraction"], _bounds(options), _pace(options), options["smoothing"])


def _cabs(options: Options) -> BatchController:
    return Cabs(options["floor"], _bounds(options), _pace(options), options["smoothing"])


def _norm_test(options: Options) -> BatchController:
    theta, smoothing, extend = options["theta"], options["smoothing"], options["extend"]
    return NormTest(theta, _bounds(options), _pace(options), smoothing, extend)


def _bounds(options: Options, minimum: Amount | None = None) -> Bounds:
    step = options.get("step", 1.0)
    rounded = options["round"]
    if step != 1 and rounded != 1 and step != rounded:
        raise ValueError(f"round=power2 is step=2 and contradicts step={step:g}; leave one out")
    return Bounds(options.get("min", minimum), options["max"], max(step, rounded))


def _pace(options: Options) -> Pace:
    monotone = options.get("monotone", False)
    return Pace(options["every"], options["change"], options["limit"], monotone)


_ROUND = {"round": Key(rounding, 1.0, meaning="power2 to round down to powers of 2, or none")}
_MAX = {"max": amount("the largest batch, such as 16x, 256s or 8kt", required=True)}
_STEP = Key(
    number(lambda value: value >= 1, "a number of at least 1"),
    1.0,
    meaning="the number of which batches are powers, such as 2, or 1 for no rounding",
)
_FOLLOW = {**_MAX, "step": _STEP, **_ROUND}
_RAMP = {
    "from": amount("the first batch, such as 1x, 64s or 2kt", required=True),
    "to": amount("the last batch, such as 8x, 512s or 16kt", required=True),
    "over": span("the time from one to the other, such as 10e, 2000u or 500kt"),
    "min": amount("the smallest batch, such as 1x, 64s or 2kt"),
    "max": amount("the largest batch, such as 16x, 256s or 8kt"),
    **_ROUND,
}


def _measured(**defaults: float) -> dict[str, Key]:
    """Return the keys of every schedule that measures, with the defaults that are its own."""
    return {
        "min": amount("the smallest batch, such as 1x, 64s or 2kt", "1x"),
        "max": amount("the largest batch, such as 16x, 256s or 8kt", "32x"),
        **_ROUND,
        "every": Key(updates, int(defaults["every"]), meaning="the updates between two decisions"),
        "change": Key(
            number(lambda value: value >= 0, "a number of at least 0"),
            defaults["change"],
            meaning="the smallest share by which a decision changes the batch, such as 0.2",
        ),
        "limit": _above(
            1, "the largest factor by which a decision changes the batch", defaults["limit"]
        ),
        "smoothing": Key(
            number(lambda value: 0 <= value < 1, "a number in [0, 1)"),
            defaults["smoothing"],
            meaning="the weight of the past in the moving averages, such as 0.95",
        ),
    }


_FRACTION = _above(0, "the fraction of the critical batch, such as 0.5", 1.0)
_THETA = _above(0, "the noise allowed as a share of the gradient's norm, such as 1", 1.0)
_FLOOR = Key(
    number(lambda value: value >= 0, "a number of at least 0"),
    0.0,
    meaning="the loss in nats per token that no model gets below",
)
_SWITCH = Key(None, False)
_COUNT = number(lambda value: value >= 1 and value == int(value), "a whole number of at least 1")
_SHARE = number(lambda value: 0 <= value <= 1, "a number in [0, 1]")
_ABSA = {
    "every": Key(parse_span, Span(1, "e"), meaning="the time between two measurements"),
    "drop": _above(1, "how many times smaller an eigenvalue must be, such as 2", 2.0),
    "factor": _above(1, "what the batch is multiplied by, such as 2", 2.0),
    "patience": Key(_COUNT, 10.0, meaning="the measurements after which it grows anyway"),
    "adversarial": Key(_SHARE, 0.2, meaning="the share of adversarial copies at first"),
    "relax": Key(
        number(lambda value: value >= 1, "a number of at least 1"),
        2.0,
        meaning="what that share is divided by when the batch grows",
    ),
    "until": Key(_SHARE, 0.5, meaning="the part of training after which none is adversarial"),
    "sentences": Key(_COUNT, 128.0, meaning="the sentences that the Hessian is measured on"),
    **_MAX,
    **_ROUND,
}

SCHEDULES = {
    "linear": Form(_ramp("linear"), _RAMP, "linear:from=1x,to=8x,over=10e"),
    "power": Form(
        _ramp("power"),
        {**_RAMP, "exponent": _above(0, "the exponent of the time, such as 0.5", required=True)},
        "power:from=1x,to=8x,over=500kt,exponent=0.5",
    ),
    "adabatch": Form(
        _adabatch,
        {
            "factor": _above(1, "what the batch is multiplied by, such as 2", required=True),
            "every": span("the interval, such as 5e, 2000u or 500kt"),
            "decay": _above(0, "what the learning rate is multiplied by, such as 0.75"),
            **_MAX,
            **_ROUND,
        },
        "adabatch:factor=2,every=5e,decay=0.75,max=16x",
    ),
    "absa": Form(_absa, _ABSA, "absa:every=1e,max=16x"),
    "smith": Form(_follower(Smith), _FOLLOW, "smith:max=16x"),
    "seesaw": Form(_follower(Seesaw), _FOLLOW, "seesaw:max=16x,step=2"),
    "follow-lr": Form(_follower(FollowLr), _FOLLOW, "follow-lr:max=16x"),
    "noise-scale": Form(
        _noise_scale,
        {
            "fraction": _FRACTION,
            **_measured(every=50, change=0.2, limit=2, smoothing=0.95),
            "monotone": _SWITCH,
        },
        "noise-scale:fraction=1,every=50,change=0.2,min=1x,max=32x,monotone",
    ),
    "cabs": Form(
        _cabs,
        {
            "floor": _FLOOR,
            **_measured(every=1, change=0, limit=float("inf"), smoothing=0.95),
            "monotone": _SWITCH,
        },
        "cabs:floor=1.5,min=1x,max=32x",
    ),
    "norm-test": Form(
        _norm_test,
        {
            "theta": _THETA,
            **_measured(every=1, change=0, limit=2, smoothing=0),
            "extend": _SWITCH,
        },
        "norm-test:theta=1,max=32x,extend",
    ),
}
"""All schedules but the piecewise one, which has no name and begins with its first amount."""
