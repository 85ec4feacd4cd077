"""An LSTM that predicts the next word, with the regularisation of AWD-LSTM or zoneout.

Shapes: R rows, T tokens, E embedding, H hidden, V vocabulary.
"""

from itertools import pairwise
from typing import Any

from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder
from fairseq.modules import AdaptiveSoftmax
from torch import Tensor, nn

from ..nn.carried_state import CarriedState, State
from ..nn.locked_dropout import locked_dropout
from ..nn.lstm_layer import LSTMLayer
from ..nn.mixture_of_softmaxes import MixtureOfSoftmaxes
from ..nn.word_dropout import word_dropout
from .forward_masks import ForwardMasks
from .lstm_lm_config import LSTMLanguageModelConfig

EMBEDDING_RANGE = 0.1
MAX_POSITIONS = 100_000
STATE = "lstm_state"


class LSTMLanguageModelDecoder(ForwardMasks, FairseqIncrementalDecoder):
    """Read tokens and predict the next ones.

    Attributes:
        carries_state: tells a task to hand over a ``CarriedState`` as ``state``.

    Args:
        cfg: sizes and rates.
        dictionary: the vocabulary.
    """

    carries_state = True

    def __init__(self, cfg: LSTMLanguageModelConfig, dictionary: Dictionary):
        super().__init__(dictionary)
        self.cfg = cfg
        self.adaptive_softmax: AdaptiveSoftmax | None = None
        self.mixture: MixtureOfSoftmaxes | None = None
        embed_dim, vocabulary = cfg.bas_embed_dim, len(dictionary)
        output_dim = cfg.bas_output_dim or embed_dim
        self.embed_tokens = nn.Embedding(vocabulary, embed_dim)
        nn.init.uniform_(self.embed_tokens.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)
        sizes = [embed_dim] + [cfg.bas_hidden_dim] * (cfg.bas_layers - 1) + [output_dim]
        self.layers = nn.ModuleList(
            LSTMLayer(
                size,
                hidden,
                weight_drop=cfg.bas_weight_drop,
                zoneout_hidden=cfg.bas_zoneout_hidden,
                zoneout_cell=cfg.bas_zoneout_cell,
            )
            for size, hidden in pairwise(sizes)
        )
        # Where copies split before the output layer, they get dropout of this rate.
        self.dropout_out_module = nn.Dropout(cfg.bas_dropout_output)
        self._build_output(output_dim)

    def _build_output(self, output_dim: int) -> None:
        cfg, vocabulary = self.cfg, self.embed_tokens.num_embeddings
        if cfg.bas_adaptive_softmax_cutoff is not None:
            cutoff = [int(size) for size in cfg.bas_adaptive_softmax_cutoff.split(",")]
            self.adaptive_softmax = AdaptiveSoftmax(
                vocabulary, output_dim, cutoff, dropout=cfg.bas_dropout_output
            )
            return
        if cfg.bas_softmaxes > 1:
            self.mixture = MixtureOfSoftmaxes(
                output_dim, cfg.bas_embed_dim, cfg.bas_softmaxes, cfg.bas_dropout_latent
            )
            output_dim = cfg.bas_embed_dim
        self.output_projection = nn.Linear(output_dim, vocabulary)
        nn.init.zeros_(self.output_projection.bias)
        if cfg.bas_untied:
            nn.init.uniform_(self.output_projection.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)
        else:
            self.output_projection.weight = self.embed_tokens.weight

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: None = None,
        incremental_state: dict[str, Any] | None = None,
        features_only: bool = False,
        src_lengths: Tensor | None = None,
        state: CarriedState | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Predict the token after each of those given.

        Args:
            prev_output_tokens: (R, T) int64, padded on the right or not at all.
            encoder_out: nothing; there is no encoder.
            incremental_state: where generation keeps what was read so far.
            features_only: leave the output layer out.
            src_lengths: not used.
            state: where the text goes on; None where it begins.

        Returns:
            Logits (R, T, V), of a mixture of softmaxes log-probabilities, of an adaptive softmax
            features (R, T, H); and a dict that in training holds ``raw`` and ``dropped``, the last
            layer's output (T, R, H) before and after dropout.
        """
        features, extra = self.extract_features(prev_output_tokens, incremental_state, state)
        return features if features_only else self.output_layer(features), extra

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        incremental_state: dict[str, Any] | None = None,
        state: CarriedState | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return what the output layer sees, (R, T, H), and the dict that ``forward`` returns."""
        before: State | None = None if state is None else state.value
        if incremental_state is not None:
            prev_output_tokens = prev_output_tokens[:, -1:]
            before = self.get_incremental_state(incremental_state, STATE)
        cfg, generator = self.cfg, self.mask_generator(prev_output_tokens.device)
        x = self.embed_tokens(prev_output_tokens)
        x = word_dropout(
            x,
            prev_output_tokens,
            self.embed_tokens.num_embeddings,
            cfg.bas_dropout_embedding,
            num_groups=self.mask_groups,
            generator=generator,
            training=self.training,
        )
        raw = locked_dropout(x.transpose(0, 1), cfg.bas_dropout_input, self.training)
        after = []
        for number, layer in enumerate(self.layers):
            if number > 0:
                raw = locked_dropout(raw, cfg.bas_dropout_hidden, self.training)
            raw, layer_state = layer(
                raw,
                None if before is None else before[number],
                num_groups=self.mask_groups,
                generator=generator,
            )
            after.append(layer_state)
        if incremental_state is not None:
            self.set_incremental_state(incremental_state, STATE, tuple(after))
        if state is not None:
            state.store(after)
        dropped = locked_dropout(raw, cfg.bas_dropout_output, self.training)
        extra = {"raw": raw, "dropped": dropped} if self.training else {}
        return dropped.transpose(0, 1), extra

    def output_layer(self, features: Tensor, **unused: Any) -> Tensor:
        """Return logits; log-probabilities of a mixture; features for an adaptive softmax."""
        if self.adaptive_softmax is not None:
            return features
        if self.mixture is not None:
            projection = self.output_projection
            return self.mixture(features, projection.weight, projection.bias)
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
        """Return a length that no window reaches."""
        return MAX_POSITIONS
