"""``--optimizer bas_pytorch_optimizer``: any optimizer of the package pytorch_optimizer by name."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.optim import register_optimizer

from ..errors import UserError, refuse_with
from .bas_whole_weights import (
    WholeWeightsConfig,
    WholeWeightsOptimizer,
    first_lr,
    require_whole_weights,
)
from .optimizer_options import parse_options

FLAG = "--optimizer bas_pytorch_optimizer"


@dataclass
class BasPytorchOptimizerConfig(WholeWeightsConfig):
    """Flags of ``--optimizer bas_pytorch_optimizer``."""

    bas_optimizer_name: Optional[str] = field(
        default=None, metadata={"help": "name of an optimizer of pytorch_optimizer, such as lion"}
    )
    bas_optimizer_options: Optional[str] = field(
        default=None,
        metadata={
            "help": "its options, as in weight_decay=0.1,betas=(0.9,0.99); --lr is fairseq's"
        },
    )


def find_optimizer(name: str) -> type[torch.optim.Optimizer]:
    """Return an optimizer class of pytorch_optimizer.

    Args:
        name: its name in any case.

    Raises:
        UserError: if the package is missing or has no such optimizer.
    """
    try:
        import pytorch_optimizer as package
    except ImportError:
        raise UserError(
            f"{FLAG} needs the package pytorch_optimizer; run pip install pytorch_optimizer"
        ) from None
    known = package.get_supported_optimizers()
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, n=3) or ["lion", "adan"]
        raise UserError(
            f"--bas-optimizer-name {name or '(none)'} is no optimizer of pytorch_optimizer; "
            f"choose one of its {len(known)}, such as {', '.join(near)}"
        )
    return package.load_optimizer(name)


def check_options(optimizer: type[torch.optim.Optimizer], options: dict[str, Any]) -> None:
    """Refuse an option that an optimizer does not read.

    Args:
        optimizer: class to be constructed.
        options: values by name.

    Raises:
        ValueError: naming the first such option and the ones there are.
    """
    parameters = inspect.signature(optimizer).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    allowed = [name for name in named if name not in ("params", "lr")]
    takes_more = any(p.kind == p.VAR_KEYWORD for p in parameters)
    # **kwargs of these classes become options of the parameter group, and most are never read.
    source = inspect.getsource(optimizer) if takes_more else ""
    for name in options:
        if name == "lr":
            raise ValueError("lr is fairseq's; pass --lr")
        if name not in allowed and f"'{name}'" not in source:
            raise ValueError(
                f"{name!r} is no option of {optimizer.__name__}; its options are "
                f"{', '.join(allowed)}"
            )


def try_out(make: Callable[[list[torch.Tensor]], Any], dimensions: Sequence[int]) -> None:
    """Make two steps on tiny weights, so that what cannot work here fails before training.

    Args:
        make: makes the optimizer from parameters.
        dimensions: numbers of dimensions of the weights that it will get.

    Raises:
        ValueError: if the optimizer needs what fairseq does not give: a closure, gradients of
            gradients, the model itself, options without a default, only matrices.
    """
    with torch.random.fork_rng(devices=[]):
        weights = [torch.nn.Parameter(torch.rand((4,) * n)) for n in sorted(set(dimensions))]
        try:
            optimizer = make(weights)
            for _ in range(2):
                for weight in weights:
                    weight.grad = torch.rand_like(weight)
                optimizer.step()
            rate = optimizer.param_groups[0]["lr"]
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"does not run on plain weights and gradients ({reason})") from error
    if not isinstance(rate, float):
        raise ValueError("has no learning rate that a schedule could set; choose another")


@register_optimizer("bas_pytorch_optimizer", dataclass=BasPytorchOptimizerConfig)
class BasPytorchOptimizer(WholeWeightsOptimizer):
    """Glue between fairseq and any optimizer of the package, kept on unflattened weights.

    Optimizers that train on other weights than they evaluate, such as the schedule-free ones, get
    their ``train`` and ``eval`` called before updates and before evaluations.
    """

    def __init__(self, cfg, params):
        super().__init__(cfg)
        params = list(params)
        require_whole_weights(cfg, params, FLAG)
        chosen = find_optimizer(cfg.bas_optimizer_name or "")
        with refuse_with("--bas-optimizer-options"):
            check_options(chosen, self._options)

        def make(weights):
            return chosen(weights, **self.optimizer_config)

        with refuse_with(f"--bas-optimizer-name {cfg.bas_optimizer_name}"):
            try_out(make, [p.ndim for p in params])
            self._optimizer = make(params)

    @property
    def optimizer_config(self):
        """Return what the command line sets."""
        return {"lr": first_lr(self.cfg), **self._options}

    @property
    def _options(self):
        return parse_options(self.cfg.bas_optimizer_options or "")

    def before_update(self) -> bool:
        """Put the weights for training in place; return whether they changed."""
        return self._switch("train")

    def before_evaluation(self) -> bool:
        """Put the weights for evaluation in place; return whether they changed."""
        return self._switch("eval")

    def _switch(self, method: str) -> bool:
        switch = getattr(self._optimizer, method, None)
        if switch is None or not self._optimizer.state:
            return False
        before = self._modes()
        switch()
        return self._modes() != before

    def _modes(self) -> list[Any]:
        return [group.get("train_mode") for group in self._optimizer.param_groups]
