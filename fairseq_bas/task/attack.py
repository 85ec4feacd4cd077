"""One attack: a forward and a backward pass in which only perturbations of embeddings learn.

It has the seed of the pass that trains, and so its dropout. It runs the model inside of any
data-parallel wrapper: no gradient travels, and workers may attack when others do not.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from fairseq.optim.amp_optimizer import AMPOptimizer
from torch import nn

from ..model.unwrap import unwrapped
from ..nn.carried_state import CarriedState
from ..replicate import Sample
from ..seeding import seed_generators
from .pass_results import LossOverReplicas


def attack(
    model: nn.Module,
    loss_of: LossOverReplicas,
    optimizer,
    in_model: Callable[[nn.Module, Sample], AbstractContextManager[object]],
    copies: Sample,
) -> None:
    """Leave the gradient of the loss in the perturbations of ``copies``, and nothing else anywhere.

    Parameters have no gradient meanwhile, so that none is computed, added to ``.grad`` or seen by
    a hook. Half precision scales the loss as in training, which directions do not depend on.

    Args:
        model: a fairseq model, wrapped or not.
        loss_of: the loss that the copies are trained on.
        optimizer: fairseq's, for its loss scale.
        in_model: returns the context in which the model makes the noise of copies.
        copies: of one pass, just seeded, with ``perturbations`` that watch, ``update_num``, and
            ``seed``, which is set anew in the end.
    """
    model = unwrapped(model)
    model.train()
    model.set_num_updates(copies["update_num"])
    copies = _with_state_of_its_own(copies)
    with frozen(model, loss_of.criterion):
        with (
            in_model(model, copies),
            torch.autocast("cuda", enabled=isinstance(optimizer, AMPOptimizer)),
        ):
            loss = loss_of(model, copies)[0]
        scaler = getattr(optimizer, "scaler", None)
        (loss if scaler is None else scaler.scale(loss)).backward()
    seed_generators(copies["seed"])


@contextmanager
def frozen(*modules: object) -> Iterator[None]:
    """Let no parameter of the modules have a gradient; what is no module has none."""
    parameters = [
        parameter
        for module in modules
        if isinstance(module, nn.Module)
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def _with_state_of_its_own(copies: Sample) -> Sample:
    """Return copies that start from the same recurrent state, and leave the one given as it is."""
    net_input = copies["net_input"]
    if "state" not in net_input:
        return copies
    state = CarriedState(net_input["state"].value)
    return {**copies, "net_input": {**net_input, "state": state}}
