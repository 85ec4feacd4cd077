"""An LSTM encoder-decoder with attention, zoneout and AWD regularisation as a fairseq model."""

from functools import partial

from fairseq.data import Dictionary
from fairseq.models import (
    FairseqEncoderDecoderModel,
    register_model,
    register_model_architecture,
)
from torch import nn

from ..errors import refuse_with
from .config_checks import apply_values
from .lstm_config import ARCHITECTURES, LSTMConfig, check_config
from .lstm_encoder import LSTMEncoder
from .lstm_translation_decoder import LSTMTranslationDecoder

EMBEDDING_RANGE = 0.1


@register_model("bas_lstm", dataclass=LSTMConfig)
class LSTMTranslationModel(FairseqEncoderDecoderModel):
    """Translate with regularised LSTMs, whose recurrences run over all time steps in one call."""

    @classmethod
    def build_model(cls, cfg: LSTMConfig, task) -> "LSTMTranslationModel":
        """Build the model for the two vocabularies of ``task``."""
        source, target = task.source_dictionary, task.target_dictionary
        shares_all = str(cfg.bas_share_embeddings) == "all"
        with refuse_with():
            check_config(cfg)
            if shares_all and source != target:
                raise ValueError(
                    "--bas-share-embeddings all needs one dictionary, and source and target have "
                    "two; pass --joined-dictionary to fairseq-preprocess, or pass "
                    "--bas-share-embeddings decoder"
                )
        of_source = _embedding(source, cfg.bas_embed_dim)
        of_target = of_source if shares_all else _embedding(target, cfg.bas_embed_dim)
        encoder = LSTMEncoder(cfg, source, of_source)
        return cls(encoder, LSTMTranslationDecoder(cfg, target, of_target, encoder.output_units))


def _embedding(dictionary: Dictionary, size: int) -> nn.Embedding:
    embedding = nn.Embedding(len(dictionary), size, padding_idx=dictionary.pad())
    nn.init.uniform_(embedding.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)
    nn.init.zeros_(embedding.weight[dictionary.pad()])
    return embedding


for _name, _values in ARCHITECTURES.items():
    register_model_architecture("bas_lstm", _name)(partial(apply_values, values=_values))
