"""Load a fairseq checkpoint as a loss surface: the model, the text, and what is known of both."""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq_bas

# isort: split
import torch
from fairseq import checkpoint_utils, tasks, utils
from fairseq.data import data_utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import FairseqEncoderDecoderModel, FairseqLanguageModel
from fairseq.models.nat import FairseqNATModel
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationTask
from omegaconf import open_dict

from ..criterion.summed_loss import logits_of, summed_loss
from ..data.dictionary_file import verify_dictionary
from ..data.fixed_text import SurfaceText, on_device, windows
from ..measure.loss_surface import LossSurface
from .language_model import load_text
from .surface_text import sentence_pairs

# Also when this module was imported first, and fairseq by it.
fairseq_bas.register()

PLAIN_TASKS = {"bas_translation": "translation", "bas_language_modeling": "language_modeling"}
"""Tasks whose flags of training, such as noise, do not matter here -> those they extend."""


@dataclass(frozen=True)
class LoadedSurface:
    """Hold the loss of a checkpoint as a function of its parameters.

    Attributes:
        surface: at the parameters of the checkpoint, in eval mode.
        facts: plain values: ``path``, ``sha256``, ``model``, ``parameters`` (n, trainable, tied
            ones once), ``updates``, ``split``, ``sentences``, ``tokens``, ``subset`` (digest of the
            text), ``seed``, ``loss``, ``smoothing``, ``device``, ``dtype``.
        task: of fairseq, without noise of training; its data directory is the one given.
        device: where the model is.
    """

    surface: LossSurface
    facts: dict[str, Any]
    task: Any
    device: torch.device


def load_surface(args: argparse.Namespace, path: str) -> LoadedSurface:
    """Load a checkpoint and the text to evaluate it on.

    Args:
        args: what ``add_surface_arguments`` asked for.
        path: the checkpoint; it goes through the plugin's safe loading.

    Raises:
        ValueError: if the checkpoint or the data are refused.
        UserError: if the file is damaged or not safe to load.
    """
    if not Path(path).is_file():
        raise ValueError(f"checkpoint {path} does not exist; check --path")
    model, task, cfg, facts = _load(path, args.data)
    text = _text(args, path, task, model)
    smoothing = _smoothing(args.loss, cfg, path)
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    dtype = torch.float64 if args.float64 else torch.float32
    model = model.to(device, dtype).eval()
    logits = logits_of(task.target_dictionary.pad())
    surface = LossSurface(
        model,
        [on_device(batch, device) for batch in text.batches],
        summed_loss(logits, task.target_dictionary.pad(), smoothing),
        text.tokens,
        outputs_of=logits,
    )
    facts |= {
        "parameters": surface.size,
        "split": args.split,
        "sentences": text.sentences,
        "tokens": text.tokens,
        "subset": text.digest,
        "seed": args.seed,
        "loss": args.loss,
        "smoothing": smoothing,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
    }
    return LoadedSurface(surface, facts, task, device)


def require_same_text(facts: Sequence[dict[str, Any]]) -> None:
    """Refuse to compare checkpoints that were not measured on the same text.

    Args:
        facts: of `LoadedSurface`, one for each checkpoint.

    Raises:
        ValueError: if the sentences of two differ.

    >>> require_same_text([{"path": "a", "subset": "1"}, {"path": "b", "subset": "1"}])
    """
    for other in facts[1:]:
        if other["subset"] != facts[0]["subset"]:
            raise ValueError(
                f"{facts[0]['path']} and {other['path']} read different text, as their languages, "
                "window lengths or longest sentences differ; measure them one by one"
            )


def _load(path: str, data: str) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return model, task, config and the facts of the file."""
    overrides = {"data": data, "eval_bleu": False}
    state = checkpoint_utils.load_checkpoint_to_cpu(path, overrides)
    cfg = state.get("cfg")
    if cfg is None and state.get("args") is not None:
        cfg = convert_namespace_to_omegaconf(state["args"])
    if cfg is None:
        raise ValueError(f"{path} does not say what model it holds; pass a checkpoint of fairseq")
    task = _task(cfg, path, data)
    name = str(getattr(cfg.model, "_name", None) or getattr(cfg.model, "arch", None))
    try:
        [model], _, _ = checkpoint_utils.load_model_ensemble_and_task(
            [path], task=task, state=state
        )
    except RuntimeError as error:
        raise ValueError(
            f"the weights of {path} do not fit a {name} with the dictionary of {data}; pass the "
            "data it was trained on"
        ) from error
    is_known = isinstance(model, FairseqEncoderDecoderModel | FairseqLanguageModel)
    if not is_known or isinstance(model, FairseqNATModel):
        raise ValueError(
            f"{path} holds a model {name}, which does not predict one token after the other; pass "
            "a translation or language model"
        )
    facts = {
        "path": path,
        "sha256": _sha256(path),
        "model": name,
        "updates": (state.get("optimizer_history") or [{}])[-1].get("num_updates"),
    }
    return model, task, cfg, facts


def _task(cfg: Any, path: str, data: str) -> Any:
    """Set up the checkpoint's own task on other data, without what only training needs."""
    name = str(getattr(cfg.task, "_name", None) or getattr(cfg.task, "task", None))
    kind = tasks.TASK_REGISTRY.get(PLAIN_TASKS.get(name, name))
    if kind is None or not issubclass(kind, TranslationTask | LanguageModelingTask):
        raise ValueError(
            f"{path} was trained for the task {name}, which is neither translation nor language "
            "modelling; pass another checkpoint"
        )
    directory = utils.split_paths(data)[0] if data else data
    with open_dict(cfg):
        cfg.task._name = PLAIN_TASKS.get(name, name)
        if issubclass(kind, TranslationTask):
            _find_languages(cfg.task, directory)
        else:
            verify_dictionary(directory)
    return tasks.setup_task(cfg.task, from_checkpoint=True)


def _find_languages(task: Any, directory: str) -> None:
    """Fill in the languages where training found them in the data."""
    if task.source_lang is None or task.target_lang is None:
        if not Path(directory).is_dir():
            raise ValueError(f"{directory} is no folder; pass the data directory of the checkpoint")
        task.source_lang, task.target_lang = data_utils.infer_language_pair(directory)
    if task.source_lang is None or task.target_lang is None:
        raise ValueError(
            f"{directory} holds no file train.SOURCE-TARGET.* that names the languages; pass the "
            "data directory of the checkpoint"
        )
    for language in (task.source_lang, task.target_lang):
        verify_dictionary(directory, language)


def _text(args: argparse.Namespace, path: str, task: Any, model: Any) -> SurfaceText:
    options = (args.sentences, args.seed, args.max_tokens)
    if isinstance(task, TranslationTask):
        return sentence_pairs(task, args.split, *options, model.max_positions())
    if task.targets != ["future"] or len(task.output_dictionary) != len(task.dictionary):
        raise ValueError(
            f"the model of {path} does not predict the next word of the whole vocabulary; "
            "pass another checkpoint"
        )
    directory = utils.split_paths(args.data)[0]
    text = load_text(directory, args.split, task.dictionary, combine=args.split == "train")
    return windows(text, task.args.tokens_per_sample, *options)


def _smoothing(loss: str, cfg: Any, path: str) -> float:
    """Return the rate of label smoothing."""
    if loss == "nll":
        return 0.0
    rate = getattr(cfg.criterion, "label_smoothing", None)
    if rate is None:
        raise ValueError(
            f"--loss smoothed: {path} was trained without label smoothing; pass --loss nll"
        )
    return float(rate)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
