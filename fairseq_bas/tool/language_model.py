"""Load a fairseq language model with carried state, and the text it is to read."""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq_bas

# isort: split
from fairseq import checkpoint_utils, tasks
from fairseq.data import Dictionary, data_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY, FairseqLanguageModel
from torch import Tensor

from ..criterion.adaptive import adaptive_nll
from ..data.dictionary_file import verify_dictionary
from ..data.integrity import verify_monolingual_split
from ..data.streams import StreamText
from ..nn.carried_state import CarriedState

# Also when this module was imported first, and fairseq by it.
fairseq_bas.register()


@dataclass(frozen=True)
class LoadedModel:
    """Hold a model in eval mode on the CPU, and what is known of its file.

    Attributes:
        model: the model.
        facts: ``path``, ``sha256``, ``model``, ``parameters``, ``updates``.
    """

    model: FairseqLanguageModel
    facts: dict[str, Any]


def load_dictionary(data: str) -> Dictionary:
    """Return the dictionary of a data directory.

    Raises:
        ValueError: if it has none, or one that is damaged.
    """
    verify_dictionary(data)
    return _task(data).dictionary


def load_text(data: str, split: str, dictionary: Dictionary, combine: bool = False) -> StreamText:
    """Return a split as one text.

    Args:
        data: the data directory.
        split: name of the split.
        dictionary: its dictionary.
        combine: append ``split1``, ``split2`` and so on, as training does.

    Raises:
        ValueError: if it is missing, damaged or empty.
    """
    verify_monolingual_split(data, split)
    sentences = data_utils.load_indexed_dataset(str(Path(data, split)), dictionary, combine=combine)
    if sentences is None:
        raise ValueError(f"{data} holds no {split}; name another split of it with --split")
    text = StreamText(sentences, dictionary.eos())
    if len(text) == 0:
        raise ValueError(f"{split} of {data} holds no token; name another split with --split")
    return text


def load_model(path: str, data: str) -> LoadedModel:
    """Load a checkpoint.

    Args:
        path: the checkpoint; it goes through the plugin's safe loading.
        data: the data directory whose dictionary the model was trained with.

    Returns:
        The model in eval mode, float32.

    Raises:
        ValueError: if it is missing, no language model, without carried state, or does not fit
            the dictionary.
        UserError: if the file is damaged or not safe to load.
    """
    if not Path(path).is_file():
        raise ValueError(f"checkpoint {path} does not exist; check --path")
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    name = _language_model_name(path, state)
    updates = (state.get("optimizer_history") or [{}])[-1].get("num_updates")
    task = _task(data)
    try:
        [model], _, _ = checkpoint_utils.load_model_ensemble_and_task(
            [path], task=task, state=state
        )
    except RuntimeError as error:
        raise ValueError(
            f"the weights of {path} do not fit a {name} with the dictionary of {data} "
            f"({len(task.dictionary)} words); pass the data it was trained on"
        ) from error
    if not getattr(model.decoder, "carries_state", False):
        raise ValueError(
            f"{path} holds a model {name}, which carries no state from window to window; evaluate "
            "it on blocks by fairseq-eval-lm"
        )
    facts = {
        "path": path,
        "sha256": _sha256(path),
        "model": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "updates": updates,
    }
    return LoadedModel(model.eval(), facts)


def score_window(
    model: FairseqLanguageModel, inputs: Tensor, labels: Tensor, state: CarriedState
) -> tuple[Tensor, Tensor]:
    """Predict the next window of B streams, from where the last one ended.

    Args:
        model: a language model with carried state.
        inputs: (B, T) int64.
        labels: (B, T) int64, the next tokens, none of them padding.
        state: of the streams; it is moved on.

    Returns:
        What the output layer sees, (B, T, H): the last layer's hidden states without dropout; and
        the log-probabilities of the labels in nats, (B, T), at least float32.
    """
    decoder = model.decoder
    features, extra = decoder.extract_features(inputs, state=state)
    if decoder.adaptive_softmax is not None:
        padding = decoder.dictionary.pad()
        nll = adaptive_nll(
            decoder.adaptive_softmax, features.flatten(0, 1), labels.flatten(), padding
        )
        return features, -nll.view_as(labels)
    output = (decoder.output_layer(features), extra)
    log_probs = model.get_normalized_probs(output, log_probs=True)
    return features, log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _task(data: str) -> Any:
    """Set up plain language modelling: flags of training, such as noise, do not matter here."""
    return tasks.setup_task(argparse.Namespace(task="language_modeling", data=data))


def _language_model_name(path: str, state: dict[str, Any]) -> str:
    """Return the name of the model in a checkpoint, or raise ValueError if it is another kind."""
    cfg = state.get("cfg")
    if cfg is None and state.get("args") is not None:
        cfg = convert_namespace_to_omegaconf(state["args"])
    if cfg is None:
        raise ValueError(f"{path} does not say what model it holds; pass a checkpoint of fairseq")
    name = str(getattr(cfg.model, "_name", None) or getattr(cfg.model, "arch", None))
    model = ARCH_MODEL_REGISTRY.get(name) or MODEL_REGISTRY.get(name)
    if model is None or not issubclass(model, FairseqLanguageModel):
        kind = "not known to fairseq or fairseq_bas" if model is None else "not a language model"
        raise ValueError(
            f"{path} holds a model {name}, which is {kind}; pass a checkpoint of bas_awd_lstm_lm"
        )
    return name


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
