"""The flags of the LSTM language model, and what its named sizes are."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import FairseqDataclass

from .config_checks import check_rates, check_sizes

ARCHITECTURES = {
    # Merity et al. 2018, table 1 and the authors' commands.
    "bas_awd_lstm_lm_ptb": {},
    "bas_awd_lstm_lm_wikitext2": {"bas_dropout_input": 0.65, "bas_dropout_hidden": 0.2},
    # For corpora of some ten thousand to some hundred thousand words.
    "bas_awd_lstm_lm_small": {
        "bas_embed_dim": 200,
        "bas_hidden_dim": 400,
        "bas_layers": 2,
    },
}
"""What each named size changes in the defaults of ``LSTMLanguageModelConfig``."""


@dataclass
class LSTMLanguageModelConfig(FairseqDataclass):
    """Hold the flags of the model; defaults are those of AWD-LSTM on Penn Treebank."""

    bas_embed_dim: int = field(default=400, metadata={"help": "size of word embeddings"})
    bas_hidden_dim: int = field(
        default=1150, metadata={"help": "hidden size of all layers but the last"}
    )
    bas_output_dim: Optional[int] = field(
        default=None, metadata={"help": "hidden size of the last layer (default: --bas-embed-dim)"}
    )
    bas_layers: int = field(default=3, metadata={"help": "number of LSTM layers"})
    bas_dropout_embedding: float = field(
        default=0.1, metadata={"help": "rate at which whole word types are dropped"}
    )
    bas_dropout_input: float = field(
        default=0.4, metadata={"help": "locked dropout of embeddings: one mask for all time steps"}
    )
    bas_dropout_hidden: float = field(
        default=0.25, metadata={"help": "locked dropout between layers"}
    )
    bas_dropout_output: float = field(
        default=0.4, metadata={"help": "locked dropout of the last layer's output"}
    )
    bas_weight_drop: float = field(
        default=0.5, metadata={"help": "rate at which recurrent weights are dropped (DropConnect)"}
    )
    bas_zoneout_cell: float = field(
        default=0.0,
        metadata={"help": "rate at which a unit of the cell keeps its value (Krueger et al. 2017)"},
    )
    bas_zoneout_hidden: float = field(
        default=0.0, metadata={"help": "rate at which a unit of the hidden state keeps its value"}
    )
    bas_untied: bool = field(
        default=False, metadata={"help": "give the output layer weights of its own"}
    )
    bas_adaptive_softmax_cutoff: Optional[str] = field(
        default=None,
        metadata={"help": "comma-separated cutoffs of an adaptive softmax, such as 2800,20000"},
    )
    bas_softmaxes: int = field(
        default=1, metadata={"help": "mix this many softmaxes (Yang et al. 2018)"}
    )
    bas_dropout_latent: float = field(
        default=0.29, metadata={"help": "dropout before each softmax of a mixture"}
    )


def check_config(cfg: LSTMLanguageModelConfig) -> None:
    """Refuse sizes, rates and output layers that do not make a model.

    Raises:
        ValueError: one sentence.
    """
    sizes = ("bas_embed_dim", "bas_hidden_dim", "bas_output_dim", "bas_layers", "bas_softmaxes")
    check_sizes(cfg, *sizes)
    check_rates(cfg, LSTMLanguageModelConfig)
    special = cfg.bas_adaptive_softmax_cutoff is not None
    if special and cfg.bas_softmaxes > 1:
        raise ValueError(
            f"--bas-softmaxes {cfg.bas_softmaxes} and --bas-adaptive-softmax-cutoff are two "
            "different output layers; leave one of them out"
        )
    tied = not (cfg.bas_untied or special or cfg.bas_softmaxes > 1)
    if tied and cfg.bas_output_dim not in (None, cfg.bas_embed_dim):
        raise ValueError(
            f"--bas-output-dim {cfg.bas_output_dim} differs from --bas-embed-dim "
            f"{cfg.bas_embed_dim}, so the output layer cannot share the embedding; pass "
            "--bas-untied too, or leave it out"
        )
