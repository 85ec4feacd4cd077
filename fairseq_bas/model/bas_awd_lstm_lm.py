"""AWD-LSTM (Merity et al. 2018) and the zoneout LSTM as fairseq language models."""

from functools import partial

from fairseq.models import (
    FairseqLanguageModel,
    register_model,
    register_model_architecture,
)

from ..errors import refuse_with
from .config_checks import apply_values
from .lstm_lm_config import ARCHITECTURES, LSTMLanguageModelConfig, check_config
from .lstm_lm_decoder import LSTMLanguageModelDecoder


@register_model("bas_awd_lstm_lm", dataclass=LSTMLanguageModelConfig)
class AWDLSTMLanguageModel(FairseqLanguageModel):
    """Model language with a regularised LSTM on fused kernels."""

    @classmethod
    def build_model(cls, cfg: LSTMLanguageModelConfig, task) -> "AWDLSTMLanguageModel":
        """Build the model for the vocabulary of ``task``."""
        with refuse_with():
            check_config(cfg)
            if len(task.source_dictionary) != len(task.target_dictionary):
                raise ValueError(
                    f"--output-dictionary-size {len(task.target_dictionary)} leaves out words that "
                    "the model reads; leave it out, or make the data with --nwordssrc"
                )
        return cls(LSTMLanguageModelDecoder(cfg, task.target_dictionary))


for _name, _values in ARCHITECTURES.items():
    register_model_architecture("bas_awd_lstm_lm", _name)(partial(apply_values, values=_values))
