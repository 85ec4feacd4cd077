"""Steps under ``--amp`` with gradients that the loss scale has been taken out of only once."""

from fairseq.optim import FairseqOptimizer


class UnscaledStep(FairseqOptimizer):
    """Base of the glue of optimizers for which the size of a gradient matters.

    With ``--amp``, fairseq takes the loss scale out of the gradients of the inner optimizer and
    then lets torch's scaler step this one, which would take it out once more, so that weights would
    hardly move. So this one tells the scaler that it sees to the scale itself.
    """

    _step_supports_amp_scaling = True

    def step(self, closure=None, scale=1.0, groups=None):
        """Make an update, unless torch's scaler has found that gradients overflowed."""
        overflowed = getattr(self, "found_inf", None)
        if overflowed is not None and bool(overflowed):
            return
        super().step(closure, scale, groups)
