"""Two LSTM layers that read a sequence in opposite directions.

Shapes: T time steps, B rows, I input, H hidden of one direction.
"""

import torch
from torch import Tensor, nn

from .lstm_layer import LSTMLayer


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM layer that equals ``torch.nn.LSTM`` once its rates are 0.

    Each direction begins at the first step that it finds, wherever the padding is: a row gives the
    same with padding on either side, on both or on none.

    Args:
        input_size: I.
        hidden_size: H, of each direction.
        weight_drop: see ``LSTMLayer``; each direction has a mask of its own.
        zoneout_hidden: see ``LSTMLayer``.
        zoneout_cell: see ``LSTMLayer``.

    Raises:
        ValueError: if a rate is out of range.

    >>> BidirectionalLSTM(3, 4)(torch.zeros(5, 2, 3)).shape
    torch.Size([5, 2, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_drop: float = 0.0,
        zoneout_hidden: float = 0.0,
        zoneout_cell: float = 0.0,
    ):
        super().__init__()
        rates = (weight_drop, zoneout_hidden, zoneout_cell)
        self.forwards = LSTMLayer(input_size, hidden_size, *rates)
        self.backwards = LSTMLayer(input_size, hidden_size, *rates)

    def forward(
        self,
        x: Tensor,
        padding: Tensor | None = None,
        num_groups: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Read a sequence from zero states.

        Args:
            x: (T, B, I), T >= 1.
            padding: (T, B) bool, True where a row has no step.
            num_groups: groups of rows with masks of weights of their own, see ``LSTMLayer``.
            generator: draws the masks of weights; None for torch's own.

        Returns:
            The hidden states of the forward direction and then of the backward one, (T, B, 2H).
        """
        masks = {"num_groups": num_groups, "generator": generator}
        onward, _ = self.forwards(x, padding=padding, **masks)
        reverse = None if padding is None else padding.flip(0)
        back, _ = self.backwards(x.flip(0), padding=reverse, **masks)
        return torch.cat([onward, back.flip(0)], dim=-1)
