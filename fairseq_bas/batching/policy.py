"""Parse the batch schedules that users write, ``4x@2e`` or ``name:key=value,...``."""

from ..config import parse_schedule
from .amount import Amount, common_unit, parse_amount
from .controller import BatchController
from .forms import SCHEDULES, Form
from .options import FLAG, read_options
from .piecewise import Piecewise

__all__ = ["SCHEDULES", "Form", "parse_batch_schedule", "register_batch_schedule"]

PIECEWISE_EXAMPLE = "1x@0,2x@5e,4x@20000u"


def register_batch_schedule(name: str, form: Form) -> None:
    """Add a batch schedule, which users then write as ``name:key=value,...``.

    Args:
        name: letters, digits and hyphens, a letter first.
        form: what builds its controller.

    Raises:
        ValueError: if there is a schedule of this name.
    """
    if name in SCHEDULES:
        raise ValueError(f"there is a batch schedule {name} already; choose another name")
    SCHEDULES[name] = form


def parse_batch_schedule(text: str) -> BatchController:
    """Parse a batch schedule.

    Args:
        text: ``value@clock,...`` or a bare amount, or the name of a schedule, a colon and its
            keys; amounts are written ``4x``, ``256s``, ``8kt``, times ``5e``, ``2000u``,
            ``100000s``, ``500kt``.

    Returns:
        The controller; it must be bound to a base batch before it decides.

    Raises:
        ValueError: one sentence with the flag, what is wrong and a correct example.

    >>> parse_batch_schedule("smith:max=256s,step=2").describe()
    'smith: batch times 1/d for lr times d, lr kept, at least 1x, at most 256s, in powers of 2'
    >>> parse_batch_schedule("smith:step=2")
    Traceback (most recent call last):
    ValueError: --bas-batch-schedule smith:step=2: max is missing; give the largest batch, such as \
16x, 256s or 8kt, as in smith:max=16x
    """
    text = text.strip()
    if not text[:1].isalpha():
        return _parse_piecewise(text)
    name, _, written = text.partition(":")
    form = SCHEDULES.get(name.strip())
    try:
        if form is None:
            raise ValueError(
                f"there is no batch schedule {name!r}; use value@clock, {', '.join(SCHEDULES)}"
            )
        options, given = read_options(written.strip(), form.keys)
        controller = form.build(options)
    except ValueError as error:
        example = form.example if form else PIECEWISE_EXAMPLE
        raise ValueError(f"{FLAG} {text}: {error}, as in {example}") from None
    amounts = (options[key] for key in given)
    controller.unit = common_unit(value for value in amounts if isinstance(value, Amount))
    return controller


def _parse_piecewise(text: str) -> Piecewise:
    schedule = parse_schedule(text, FLAG, parse_amount)  # type: ignore[type-var]
    controller = Piecewise(schedule)
    controller.unit = common_unit(schedule.values)
    return controller
