"""A checkpoint's task, data, model and loss, made to give the gradients of single copies."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq_bas

# isort: split
import torch
from fairseq import checkpoint_utils, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from .gradient_batches import SentencePool
from .gradient_flags import RunFlags

# Also when this module was imported first, and fairseq by it.
fairseq_bas.register()

MAX_TOKENS = 4096


@dataclass(frozen=True)
class Checkpoint:
    """Hold a checkpoint file.

    Attributes:
        flags: of its run.
        state: what fairseq stored, on the CPU.
        facts: ``path``, ``sha256``, ``model``, ``updates``.
    """

    flags: RunFlags
    state: dict[str, Any]
    facts: dict[str, Any]

    @property
    def updates(self) -> int:
        """Return the updates that the model has had, 0 if it is not known."""
        return int(self.facts["updates"] or 0)


def read_checkpoint(path: str) -> Checkpoint:
    """Load a checkpoint file.

    Args:
        path: of fairseq; it goes through the plugin's safe loading.

    Raises:
        ValueError: if it is missing or not of a translation or language model.
        UserError: if the file is damaged or not safe to load.
    """
    if not Path(path).is_file():
        raise ValueError(f"checkpoint {path} does not exist; check --path")
    state = checkpoint_utils.load_checkpoint_to_cpu(path)
    cfg = state.get("cfg")
    if cfg is None and state.get("args") is not None:
        cfg = convert_namespace_to_omegaconf(state["args"])
    if cfg is None:
        raise ValueError(f"{path} does not say what model it holds; pass a checkpoint of fairseq")
    facts = {
        "path": path,
        "sha256": _sha256(path),
        "model": str(getattr(cfg.model, "_name", None) or getattr(cfg.model, "arch", None)),
        "updates": (state.get("optimizer_history") or [{}])[-1].get("num_updates"),
    }
    return Checkpoint(RunFlags(cfg, path), state, facts)


class GradientSetup:
    """Build what a run of the checkpoint is made of, at the checkpoint's weights.

    Args:
        checkpoint: whose run it is.
        data: data directory of fairseq-preprocess.
        split: to read as the training set.
        replicas: copies of every sentence.
        seed: of the noise.
        device: for the model.
        flags: of the run, with what is to be changed; None for those of the checkpoint.
        placement: ``passes``, each copy alone, or ``rows``, all side by side.

    Attributes:
        task: a task of this plugin, with the split loaded.
        model: float32, in training mode.
        criterion: the loss of the run.
        dataset: the split.

    Raises:
        ValueError: if data and model do not fit.
        UserError: for what training would refuse.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        data: str,
        split: str,
        replicas: int,
        seed: int,
        device: torch.device,
        flags: RunFlags | None = None,
        placement: str = "passes",
    ):
        flags = (flags or checkpoint.flags).copied()
        for key, value in {
            "data": data,
            "train_subset": split,
            "seed": seed,
            "bas_replicas": str(replicas),
            "bas_placement": placement,
        }.items():
            flags.put(key, value)
        cfg = flags.cfg
        self.cfg, self.replicas, self.device, self.split = cfg, replicas, device, split
        self.updates, self.notes = checkpoint.updates, flags.notes
        utils.set_torch_seed(seed)
        self.task = tasks.setup_task(cfg.task, from_checkpoint=True)
        self.model = self._model(checkpoint)
        self.criterion = self.task.build_criterion(cfg.criterion, from_checkpoint=True).to(device)
        self.task.load_dataset(split, combine=split == "train")
        self.dataset = self.task.dataset(split)

    def _model(self, checkpoint: Checkpoint) -> Any:
        cfg, path = self.cfg, checkpoint.facts["path"]
        model = self.task.build_model(cfg.model, from_checkpoint=True)
        try:
            model.load_state_dict(checkpoint.state["model"], strict=True, model_cfg=cfg.model)
        except RuntimeError as error:
            raise ValueError(
                f"the weights of {path} do not fit a {checkpoint.facts['model']} with the "
                f"dictionary of {cfg.task.data}; pass the data it was trained on, and no flag that "
                "changes the shape of the model"
            ) from error
        return model.float().to(self.device).train()

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Return the trainable parameters of the model, tied ones once."""
        return [p for p in dict.fromkeys(self.model.parameters()) if p.requires_grad]

    @property
    def size(self) -> int:
        """Return how many numbers the gradient has."""
        return sum(parameter.numel() for parameter in self.parameters)


def limits(checkpoint: Checkpoint, max_tokens: int | None) -> tuple[int, int | None]:
    """Return the bounds on a forward pass: tokens with padding, and sentences.

    Args:
        checkpoint: whose run says them,
        max_tokens: unless this does.
    """
    if max_tokens is not None:
        return max_tokens, None
    dataset = checkpoint.flags.cfg.dataset
    return dataset.max_tokens or MAX_TOKENS, dataset.batch_size


def run_batch(checkpoint: Checkpoint, pool: SentencePool) -> float | None:
    """Return the mean target tokens of an update by the flags of the run, over all its workers.

    Args:
        checkpoint: of the run.
        pool: its text.

    Returns:
        None if the run did not bound its micro-batches; a batch schedule is not looked at.
    """
    cfg = checkpoint.flags.cfg
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        return None
    each = pool.tokens_per_batch(cfg.dataset.max_tokens, cfg.dataset.batch_size)
    workers = max(1, int(cfg.distributed_training.distributed_world_size))
    return float(each * cfg.optimization.update_freq[0] * workers)


def device_of(cpu: bool) -> torch.device:
    """Return the device to compute on.

    Args:
        cpu: True to leave a GPU alone.
    """
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")


def device_name(device: torch.device) -> str:
    """Return what to call a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
