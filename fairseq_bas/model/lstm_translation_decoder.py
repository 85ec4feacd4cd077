"""The decoder of the LSTM translation model: attention asked by the first layer.

The first layer reads embeddings alone; its output asks the attention, whose answer goes to all
layers above and to the output layer. As nothing is fed back, each recurrence is one call over all
time steps. That is the decoder of GNMT (Wu et al. 2016, section 3.1), with the attention and the
attentional hidden state of Luong et al. 2015: the output layer reads tanh(W [top; context]).

Shapes: R rows, T tokens, S source length, E embedding, H hidden, C encoder output, V vocabulary.
"""

from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor, nn

from ..nn.attention import GeneralAttention
from ..nn.locked_dropout import locked_dropout
from ..nn.lstm_layer import LSTMLayer
from ..nn.word_dropout import word_dropout
from .forward_masks import ForwardMasks
from .lstm_config import LSTMConfig, layer_rates
from .lstm_encoder import FIRST_RESIDUAL, MAX_POSITIONS, EncoderOut

STATE = "lstm_state"
LayerStates = tuple[tuple[Tensor, Tensor], ...]


class LSTMTranslationDecoder(ForwardMasks, FairseqIncrementalDecoder):
    """Read the source and the target so far, and predict the next token.

    Args:
        cfg: sizes and rates.
        dictionary: the vocabulary of the target.
        embed_tokens: its embedding.
        memory_size: C.
    """

    def __init__(
        self,
        cfg: LSTMConfig,
        dictionary: Dictionary,
        embed_tokens: nn.Embedding,
        memory_size: int,
    ):
        super().__init__(dictionary)
        self.cfg = cfg
        self.embed_tokens = embed_tokens
        hidden, rates = cfg.bas_hidden_dim, layer_rates(cfg)
        self.layers = nn.ModuleList(
            LSTMLayer(hidden + memory_size if number else cfg.bas_embed_dim, hidden, **rates)
            for number in range(cfg.bas_decoder_layers)
        )
        self.attention = GeneralAttention(hidden, memory_size)
        self.combine = nn.Linear(hidden + memory_size, cfg.bas_embed_dim, bias=False)
        # Where copies split before the output layer, they get dropout of this rate.
        self.dropout_out_module = nn.Dropout(cfg.bas_dropout_output)
        self.output_projection = nn.Linear(cfg.bas_embed_dim, embed_tokens.num_embeddings)
        nn.init.zeros_(self.output_projection.bias)
        if str(cfg.bas_share_embeddings) != "none":
            self.output_projection.weight = embed_tokens.weight

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut | None = None,
        incremental_state: dict[str, Any] | None = None,
        features_only: bool = False,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Predict the token after each of those given.

        Args:
            prev_output_tokens: (R, T) int64, padded on the right or not at all.
            encoder_out: what the encoder returned, of R sentences.
            incremental_state: where generation keeps what was read so far; only the last token is
                then read.
            features_only: leave the output layer out.
            **unused: what a model hands to its encoder.

        Returns:
            Logits (R, T, V); and a dict that in training holds ``raw`` and ``dropped``, the last
            layer's output (T, R, H) before and after dropout, and otherwise ``attn``, a list of the
            weights of attention (R, T, S).
        """
        features, extra = self.extract_features(prev_output_tokens, encoder_out, incremental_state)
        return features if features_only else self.output_layer(features), extra

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut | None = None,
        incremental_state: dict[str, Any] | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return what the output layer sees, (R, T, E), and the dict that ``forward`` returns."""
        before: LayerStates | None = None
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
            before = self.get_incremental_state(incremental_state, STATE)
        top, context, weights, after = self._run(prev_output_tokens, encoder_out, before)
        if incremental_state is not None:
            self.set_incremental_state(incremental_state, STATE, after)
        both = torch.cat([top, context], dim=-1)
        dropped = locked_dropout(both, self.cfg.bas_dropout_hidden, self.training)
        features = locked_dropout(
            self.combine(dropped).tanh(), self.cfg.bas_dropout_output, self.training
        )
        if self.training:
            extra = {"raw": top, "dropped": dropped[..., : top.size(-1)]}
        else:
            extra = {"attn": [weights]}
        return features.transpose(0, 1), extra

    def _run(
        self, tokens: Tensor, encoder_out: EncoderOut, before: LayerStates | None
    ) -> tuple[Tensor, Tensor, Tensor, LayerStates]:
        """Return the last layer's output, context, weights of attention, and states after."""
        cfg, first, *further = self.cfg, *self.layers
        masks = {"num_groups": self.mask_groups, "generator": self.mask_generator(tokens.device)}
        states = (None,) * len(self.layers) if before is None else before
        x = word_dropout(
            self.embed_tokens(tokens),
            tokens,
            self.embed_tokens.num_embeddings,
            cfg.bas_dropout_embedding,
            training=self.training,
            **masks,
        )
        read = locked_dropout(x.transpose(0, 1), cfg.bas_dropout_input, self.training)
        x, state = first(read, states[0], **masks)
        context, weights = self.attention(x, *encoder_out)
        after = [state]
        for number, layer in enumerate(further, start=1):
            read = torch.cat([x, context], dim=-1)
            read = locked_dropout(read, cfg.bas_dropout_hidden, self.training)
            output, state = layer(read, states[number], **masks)
            after.append(state)
            x = output + x if cfg.bas_residual and number >= FIRST_RESIDUAL else output
        return x, context, weights, tuple(after)

    def output_layer(self, features: Tensor, **unused: Any) -> Tensor:
        """Return logits (R, T, V)."""
        return self.output_projection(features)

    def reorder_incremental_state(
        self, incremental_state: dict[str, Any], new_order: Tensor
    ) -> None:
        """Let the hypotheses of a beam change places."""
        state = self.get_incremental_state(incremental_state, STATE)
        if state is not None:
            moved = tuple(
                (h.index_select(0, new_order), c.index_select(0, new_order)) for h, c in state
            )
            self.set_incremental_state(incremental_state, STATE, moved)

    def max_positions(self) -> int:
        """Return a length that no sentence reaches."""
        return MAX_POSITIONS
