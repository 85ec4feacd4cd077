"""An LSTM layer with dropped recurrent weights, zoneout and padding, on fused kernels.

Shapes: T time steps, B rows, I input, H hidden, G groups of rows.
"""

import torch
from torch import Tensor, nn

from .fast_product import fast_linear
from .fused_lstm import fused_lstm, padded_lstm
from .random_mask import check_rate, random_mask
from .weight_drop import drop_weights
from .zoneout import zoneout_recurrence
from .zoneout_step import Keep

LayerState = tuple[Tensor, Tensor]


class LSTMLayer(nn.Module):
    """A single-layer LSTM that equals ``torch.nn.LSTM`` once its rates are 0 or it is in eval mode.

    Without zoneout it runs torch's fused kernels, to which the dropped weights are handed as an
    argument: parameters stay what they are, so saving, copying and ``train()`` / ``eval()`` work as
    for any module. With zoneout it runs ``zoneout_recurrence``; at evaluation the masks are
    replaced by their expectation.

    Args:
        input_size: I.
        hidden_size: H.
        weight_drop: rate in [0, 1) at which single weights of ``weight_hh_l0`` are dropped, once a
            forward pass.
        zoneout_hidden: rate in [0, 1) at which a unit of the hidden state keeps its value.
        zoneout_cell: rate in [0, 1) at which a unit of the cell keeps its value.

    Attributes:
        compiled: compile the steps of zoneout, see ``zoneout_recurrence``; False until it is set.

    Raises:
        ValueError: if a rate is out of range.

    >>> layer = LSTMLayer(3, 4, weight_drop=0.5)
    >>> output, (h, c) = layer(torch.zeros(5, 2, 3))
    >>> output.shape, h.shape, sorted(layer.state_dict())[-1]
    (torch.Size([5, 2, 4]), torch.Size([2, 4]), 'weight_ih_l0')
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_drop: float = 0.0,
        zoneout_hidden: float = 0.0,
        zoneout_cell: float = 0.0,
    ):
        for rate in (weight_drop, zoneout_hidden, zoneout_cell):
            check_rate(rate)
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_drop = weight_drop
        self.zoneout_hidden, self.zoneout_cell = zoneout_hidden, zoneout_cell
        self.compiled = False
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(
        self,
        x: Tensor,
        state: LayerState | None = None,
        padding: Tensor | None = None,
        num_groups: int = 1,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Read a sequence.

        Args:
            x: (T, B, I), T >= 1.
            state: hidden state and cell before the first step, (B, H) each; None for zeros.
            padding: (T, B) bool, True where a row has no step: its state stays as it is.
            num_groups: G, which divides B; row b belongs to group b % G, and each group has a mask
                of the recurrent weights of its own. Only matters to dropped weights in training.
            generator: draws the masks of weights; None for torch's own, which draws zoneout too.

        Returns:
            Hidden states (T, B, H); and hidden state and cell after the last step, (B, H) each.

        Raises:
            ValueError: if the state has another shape; kernels would read beyond it.
        """
        shape = (x.size(1), self.hidden_size)
        if state is None:
            state = (x.new_zeros(shape), x.new_zeros(shape))
        if any(part.shape != shape for part in state):
            shapes = " and ".join(str(tuple(part.shape)) for part in state)
            raise ValueError(f"a state of {shapes} does not go with {shape}; pass (B, H) for both")
        drops = self.training and self.weight_drop > 0
        weights = [
            drop_weights(self.weight_hh_l0, self.weight_drop if drops else 0.0, generator)
            for _ in range(num_groups if drops else 1)
        ]
        if len(weights) == 1:
            return self._run(x, state, padding, weights[0])
        parts = [
            self._run(
                x[:, group::num_groups],
                (state[0][group::num_groups], state[1][group::num_groups]),
                None if padding is None else padding[:, group::num_groups],
                weight,
            )
            for group, weight in enumerate(weights)
        ]
        output, h, c = (
            torch.stack(tensors, dim=-2).flatten(-3, -2)
            for tensors in zip(*((output, *after) for output, after in parts), strict=True)
        )
        return output, (h, c)

    def _run(
        self, x: Tensor, state: LayerState, padding: Tensor | None, weight_hh: Tensor
    ) -> tuple[Tensor, LayerState]:
        # On a CPU torch has no fused kernel for rows of several lengths.
        slow = padding is not None and x.device.type == "cpu"
        if self.zoneout_hidden or self.zoneout_cell or slow:
            return self._by_steps(x, state, padding, weight_hh)
        weights = [self.weight_ih_l0, weight_hh, self.bias_ih_l0, self.bias_hh_l0]
        if padding is None:
            return fused_lstm(x, state, weights)
        return padded_lstm(x, state, weights, padding)

    def _by_steps(
        self, x: Tensor, state: LayerState, padding: Tensor | None, weight_hh: Tensor
    ) -> tuple[Tensor, LayerState]:
        gates_x = fast_linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        shape = (*x.shape[:2], self.hidden_size)
        keep_h, keep_c = (
            self._keep(rate, shape, x.device, padding)
            for rate in (self.zoneout_hidden, self.zoneout_cell)
        )
        return zoneout_recurrence(gates_x, weight_hh, *state, keep_h, keep_c, self.compiled)

    def _keep(
        self, rate: float, shape: tuple[int, ...], device: torch.device, padding: Tensor | None
    ) -> Keep:
        """Return what stays of a state: masks in training, their expectation otherwise."""
        padded = None if padding is None else padding.unsqueeze(-1)
        if not rate:
            return padded
        if not self.training:
            return rate if padded is None else padded.float().clamp_(min=rate)
        mask = random_mask(shape, rate, device)
        return mask if padded is None else mask.logical_or_(padded)

    def extra_repr(self) -> str:
        """Name the sizes and rates."""
        return (
            f"{self.input_size}, {self.hidden_size}, weight_drop={self.weight_drop}, "
            f"zoneout_hidden={self.zoneout_hidden}, zoneout_cell={self.zoneout_cell}"
        )
