"""Averaged SGD that starts averaging by itself (Merity, Keskar, Socher 2017, arXiv 1708.02182).

Means that favour late iterates: Shamir and Zhang 2013 (arXiv 1212.1824), section 4.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def stopped_improving(history: Sequence[float], loss: float, nonmono: int) -> bool:
    """Tell whether a loss is worse than the best one of all validations but the latest few.

    Args:
        history: (L,) losses of earlier validations, in order.
        loss: loss of the newest validation, not in ``history``.
        nonmono: validations without progress that are tolerated, n >= 0; the n latest losses of
            ``history`` are left out.

    Returns:
        True if L > n and ``loss > min(history[: L - n])``.

    Example:
        >>> stopped_improving([5.0, 4.0, 4.2, 4.1], 4.3, nonmono=2)
        True
        >>> stopped_improving([5.0, 4.0, 4.2, 4.1], 3.9, nonmono=2)
        False
        >>> stopped_improving([5.0, 4.0], 6.0, nonmono=2)
        False
    """
    older = history[: max(0, len(history) - nonmono)]
    return len(older) > 0 and loss > min(older)


def newest_weight(count: int, power: float = 0.0) -> float:
    r"""Return the weight of the newest iterate in a polynomial-decay average.

    :math:`\bar w_k = (1 - a_k)\,\bar w_{k-1} + a_k w_k` with :math:`a_k = (p + 1) / (k + p)`:
    iterate i of k counts in proportion to :math:`\Gamma(i + p) / \Gamma(i) \approx i^p`, so that
    about the latest 1/(p + 1) of all iterates matter. (Shamir and Zhang 2013, section 4)

    Args:
        count: k >= 1, iterates averaged, the newest one included.
        power: p >= 0; with 0 the mean is the plain one.

    Returns:
        :math:`a_k`, in (0, 1].

    Example:
        >>> [newest_weight(k) for k in (1, 2, 4)]
        [1.0, 0.5, 0.25]
        >>> [newest_weight(k, power=1) for k in (1, 3)]  # 1 w_1 + 2 w_2 + 3 w_3, over 6
        [1.0, 0.5]
    """
    return (power + 1) / (count + power)


class NTASGD(torch.optim.SGD):
    r"""Run SGD, and from the update at which validation stops improving, average its iterates.

    :math:`w_t = w_{t-1} - \eta\,(g_t + \lambda w_{t-1})`; after the trigger, with k updates since,
    :math:`\bar w \leftarrow \bar w + a_k (w_t - \bar w)` with :math:`a_k` of `newest_weight`: 1/k,
    for the plain mean of the k iterates, unless ``average_power`` is given.
    ``torch.optim.ASGD(t0=0, lambd=0)``, which the paper's code switches to, leaves the first of
    them out of its mean. Averaging never changes the iterates.

    The parameters hold either the iterate, as updates need, or the average, for evaluation:
    `use_average` and `use_iterate` exchange them in place and exactly. `state_dict` is complete in
    both cases, so that a saved run goes on bit for bit.

    Args:
        params: parameters or groups of them, float32 or float64; the average has their dtype.
        lr: step length, > 0.
        weight_decay: L2 penalty added to the gradient, >= 0.
        nonmono: n of `stopped_improving`.
        average_now: average from the first update on, without waiting.
        average_power: p of `newest_weight`, finite and >= 0.

    Raises:
        ValueError: if ``nonmono`` or ``average_power`` is out of range or a parameter has half
            precision.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = NTASGD([weight], lr=1.0, average_now=True)
        >>> for gradient in (1.0, 2.0):
        ...     weight.grad = torch.tensor([gradient])
        ...     _ = optimizer.step()  # the iterates are 0 and -2
        >>> optimizer.use_average()
        True
        >>> weight.item()
        -1.0
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        nonmono: int = 5,
        average_now: bool = False,
        average_power: float = 0.0,
    ):
        if not 0 <= average_power < math.inf:
            raise ValueError(f"average_power {average_power} is not a finite number of 0 or more")
        if nonmono < 0:
            raise ValueError(f"nonmono {nonmono} is negative; pass a number of validations")
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        if any(p.dtype in (torch.float16, torch.bfloat16) for p in self._parameters()):
            raise ValueError(
                "parameters in half precision are too coarse to average; keep a float32 copy of "
                "them, as --fp16 and --bf16 do without memory-efficient"
            )
        self.nonmono = nonmono
        self.average_now = average_now
        self.average_power = average_power
        self.averaging = average_now
        self.count = 0
        self.history: list[float] = []  # losses; where larger is better, scores with minus sign
        self._average_in_use = False

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def observe(self, loss: float, maximize: bool = False) -> bool:
        """Take note of a validation and start averaging if it shows no more progress.

        Args:
            loss: what validation measured; NaN counts as infinitely bad.
            maximize: True if larger is better, e.g. for BLEU.

        Returns:
            True if this validation starts the averaging.
        """
        if self.averaging:
            return False
        loss = -float(loss) if maximize else float(loss)
        loss = math.inf if math.isnan(loss) else loss
        self.averaging = stopped_improving(self.history, loss, self.nonmono)
        self.history.append(loss)
        return self.averaging

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make an update, and count its result into the average once averaging has started.

        Raises:
            RuntimeError: if the parameters hold the average.
        """
        if self._average_in_use:
            raise RuntimeError("the parameters hold the average; call use_iterate() before step()")
        loss = super().step(closure)
        if self.averaging:
            self.count += 1
            self._average_iterates()
        return loss

    @torch.no_grad()
    def _average_iterates(self) -> None:
        newest = newest_weight(self.count, self.average_power)
        for p in self._parameters():
            state = self.state[p]
            if "average" in state:
                state["average"].lerp_(p, newest)
            else:
                state["average"] = p.clone(memory_format=torch.preserve_format)

    @torch.no_grad()
    def use_average(self) -> bool:
        """Put the average into the parameters and keep the iterate aside.

        Returns:
            True if the parameters changed; False if they hold it already or there is none yet.
        """
        if self._average_in_use or self.count == 0:
            return False
        for p in self._parameters():
            self.state[p]["iterate"] = p.clone(memory_format=torch.preserve_format)
            p.copy_(self.state[p]["average"])
        self._average_in_use = True
        return True

    @torch.no_grad()
    def use_iterate(self) -> bool:
        """Put the iterate back into the parameters, bit for bit.

        Returns:
            True if the parameters changed; False if they hold it already.
        """
        if not self._average_in_use:
            return False
        for p in self._parameters():
            p.copy_(self.state[p].pop("iterate"))
        self._average_in_use = False
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state with the validation history and what the parameters now hold."""
        averaging = {
            "started": self.averaging,
            "count": self.count,
            "history": list(self.history),
            "average_in_use": self._average_in_use,
        }
        return {**super().state_dict(), "averaging": averaging}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the parameters must be those of the same moment.

        ``nonmono``, ``average_now`` and ``average_power`` stay as given to this optimizer: a run
        can be resumed with ``average_now`` to start averaging there.
        """
        super().load_state_dict(state_dict)
        saved = state_dict["averaging"]
        self.averaging = saved["started"] or self.average_now
        self.count = saved["count"]
        self.history = list(saved["history"])
        self._average_in_use = saved["average_in_use"]
