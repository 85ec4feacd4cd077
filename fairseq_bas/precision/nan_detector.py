"""Find the module whose output is not finite, without stumbling over encoders.

torch wants a tensor to hang a backward hook on, and ends in StopIteration at a module whose output
is a dict of lists of tensors, as those of fairseq's encoders are.
"""

import logging

import torch
from fairseq.nan_detector import NanDetector
from torch import nn

logger = logging.getLogger(__name__)
NAMED = 5
"""Weights that are named at most."""


class LeafNanDetector(NanDetector):
    """Watch gradients at modules that hold no others; values everywhere, as fairseq does.

    In the end it names weights, where fairseq prints their gradients number by number.
    """

    def __exit__(self, *_: object) -> None:
        broken = [
            name
            for name, weight in self.named_parameters
            if weight.grad is not None and not torch.isfinite(weight.grad).all()
        ]
        if broken:
            more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
            logger.info(f"gradients are not finite of {', '.join(broken[:NAMED])}{more}")
        self.close()

    def add_hooks(self, module: nn.Module) -> None:
        """Watch a module."""
        backward = self.backward
        self.backward = backward and next(module.children(), None) is None
        super().add_hooks(module)
        self.backward = backward
