"""The flags of the LSTM translation model, and what its named sizes are."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from .config_checks import check_rates, check_sizes

SHARED_EMBEDDINGS = ChoiceEnum(["none", "decoder", "all"])
ARCHITECTURES: dict[str, dict[str, Any]] = {
    # Sizes of Ranzato et al. 2016 and Wiseman and Rush 2016 for IWSLT German-English, which
    # fairseq has as lstm_wiseman_iwslt_de_en.
    "bas_lstm_iwslt": {
        "bas_embed_dim": 256,
        "bas_hidden_dim": 256,
        "bas_encoder_layers": 1,
        "bas_decoder_layers": 1,
    },
    # The depth, residual connections and dropout of the GNMT model of MLPerf, at half its width.
    "bas_lstm_gnmt_small": {
        "bas_encoder_layers": 4,
        "bas_decoder_layers": 4,
        "bas_residual": True,
    },
    # The GNMT model of MLPerf; Wu et al. 2016 have eight layers of this width on each side.
    "bas_lstm_gnmt": {
        "bas_embed_dim": 1024,
        "bas_hidden_dim": 1024,
        "bas_encoder_layers": 4,
        "bas_decoder_layers": 4,
        "bas_residual": True,
    },
}
"""What each named size changes in the defaults of ``LSTMConfig``."""


@dataclass
class LSTMConfig(FairseqDataclass):
    """Hold the flags of the model."""

    bas_embed_dim: int = field(default=512, metadata={"help": "size of word embeddings"})
    bas_hidden_dim: int = field(
        default=512,
        metadata={"help": "hidden size of a layer, of each direction in the bidirectional one"},
    )
    bas_encoder_layers: int = field(
        default=2, metadata={"help": "encoder layers, of which the first is bidirectional"}
    )
    bas_decoder_layers: int = field(
        default=2, metadata={"help": "decoder layers, of which the first asks the attention"}
    )
    bas_residual: bool = field(
        default=False, metadata={"help": "add its input to the output of each layer from the third"}
    )
    bas_share_embeddings: SHARED_EMBEDDINGS = field(
        default="none",
        metadata={
            "help": "what has the same weights: none, decoder (its embedding and the output "
            "layer), all (the encoder's embedding too, which needs a joined dictionary)"
        },
    )
    bas_dropout_embedding: float = field(
        default=0.0, metadata={"help": "rate at which whole word types are dropped"}
    )
    bas_dropout_input: float = field(
        default=0.2, metadata={"help": "locked dropout of embeddings: one mask for all time steps"}
    )
    bas_dropout_hidden: float = field(
        default=0.2, metadata={"help": "locked dropout of what each layer but the first reads"}
    )
    bas_dropout_output: float = field(
        default=0.2, metadata={"help": "locked dropout of what the output layer reads"}
    )
    bas_weight_drop: float = field(
        default=0.0, metadata={"help": "rate at which recurrent weights are dropped (DropConnect)"}
    )
    bas_zoneout_cell: float = field(
        default=0.0,
        metadata={"help": "rate at which a unit of the cell keeps its value (Krueger et al. 2017)"},
    )
    bas_zoneout_hidden: float = field(
        default=0.0, metadata={"help": "rate at which a unit of the hidden state keeps its value"}
    )


def check_config(cfg: LSTMConfig) -> None:
    """Refuse sizes and rates that do not make a model.

    Raises:
        ValueError: one sentence.
    """
    check_sizes(cfg, "bas_embed_dim", "bas_hidden_dim", "bas_encoder_layers", "bas_decoder_layers")
    check_rates(cfg, LSTMConfig)


def layer_rates(cfg: LSTMConfig) -> dict[str, float]:
    """Return the rates that every LSTM layer gets."""
    return {
        "weight_drop": cfg.bas_weight_drop,
        "zoneout_hidden": cfg.bas_zoneout_hidden,
        "zoneout_cell": cfg.bas_zoneout_cell,
    }
