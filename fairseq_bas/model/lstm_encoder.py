"""The encoder of the LSTM translation model: one bidirectional layer, then layers in one direction.

That is the encoder of GNMT (Wu et al. 2016, section 3.2).

Shapes: B sentences, S source length, E embedding, H hidden, C output.
"""

from typing import Any, NamedTuple

from fairseq.data import Dictionary
from fairseq.models import FairseqEncoder
from torch import Tensor, nn

from ..nn.bidirectional_lstm import BidirectionalLSTM
from ..nn.locked_dropout import locked_dropout
from ..nn.lstm_layer import LSTMLayer
from ..nn.word_dropout import word_dropout
from .forward_masks import ForwardMasks
from .lstm_config import LSTMConfig, layer_rates

MAX_POSITIONS = 100_000
FIRST_RESIDUAL = 2
"""Number, from 0, of the first layer whose input may be added to its output."""


class EncoderOut(NamedTuple):
    """Hold what the encoder makes of a batch."""

    encoder_out: Tensor
    """(S, B, C)"""
    padding: Tensor | None
    """(S, B) bool, True at padding; None where there is none."""


class LSTMEncoder(ForwardMasks, FairseqEncoder):
    """Read the source.

    A sentence gives the same output in any batch, padded on the left or on the right.

    Attributes:
        output_units: C, which is 2H if the bidirectional layer is the only one, H otherwise.

    Args:
        cfg: sizes and rates.
        dictionary: the vocabulary of the source.
        embed_tokens: its embedding.
    """

    def __init__(self, cfg: LSTMConfig, dictionary: Dictionary, embed_tokens: nn.Embedding):
        super().__init__(dictionary)
        self.cfg = cfg
        self.embed_tokens = embed_tokens
        hidden, rates = cfg.bas_hidden_dim, layer_rates(cfg)
        self.bidirectional = BidirectionalLSTM(cfg.bas_embed_dim, hidden, **rates)
        self.layers = nn.ModuleList(
            LSTMLayer(2 * hidden if number == 1 else hidden, hidden, **rates)
            for number in range(1, cfg.bas_encoder_layers)
        )
        self.output_units = hidden if self.layers else 2 * hidden

    def forward(
        self, src_tokens: Tensor, src_lengths: Tensor | None = None, **unused: Any
    ) -> EncoderOut:
        """Encode sentences.

        Args:
            src_tokens: (B, S) int64, padded on either side, in any order of lengths.
            src_lengths: not used.
            **unused: what a model hands to its decoder.

        Returns:
            The last layer's hidden states, and where the padding is.
        """
        cfg = self.cfg
        at_padding = src_tokens.eq(self.dictionary.pad()).t()
        padding = at_padding if at_padding.any() else None
        masks = {
            "num_groups": self.mask_groups,
            "generator": self.mask_generator(src_tokens.device),
        }
        x = word_dropout(
            self.embed_tokens(src_tokens),
            src_tokens,
            self.embed_tokens.num_embeddings,
            cfg.bas_dropout_embedding,
            training=self.training,
            **masks,
        )
        x = locked_dropout(x.transpose(0, 1), cfg.bas_dropout_input, self.training)
        x = self.bidirectional(x, padding=padding, **masks)
        for number, layer in enumerate(self.layers, start=1):
            read = locked_dropout(x, cfg.bas_dropout_hidden, self.training)
            output, _ = layer(read, padding=padding, **masks)
            x = output + x if cfg.bas_residual and number >= FIRST_RESIDUAL else output
        return EncoderOut(x, padding)

    def reorder_encoder_out(self, encoder_out: EncoderOut, new_order: Tensor) -> EncoderOut:
        """Take sentences, once or several times, in the order given."""
        return EncoderOut(
            *(None if part is None else part.index_select(1, new_order) for part in encoder_out)
        )

    def max_positions(self) -> int:
        """Return a length that no sentence reaches."""
        return MAX_POSITIONS
