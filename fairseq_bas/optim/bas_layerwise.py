"""What fairseq's glue of layer-wise optimizers shares: whole weights, their names, their ratios.

fairseq hands an optimizer parameters without names, in half precision copies of them. Its
``name_parameters``, called once after it was built, gets the names in the same order.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer
from omegaconf import II

from ..errors import UserError, refuse_with
from .trust_ratio import is_embedding, mean_by_group, module_group

HALF = (torch.float16, torch.bfloat16)


@dataclass
class WholeWeightsConfig(FairseqDataclass):
    """What an optimizer must know of a run to refuse weights that are not whole."""

    lr: List[float] = II("optimization.lr")
    ddp_backend: Any = II("distributed_training.ddp_backend")
    zero_sharding: Any = II("distributed_training.zero_sharding")
    use_bmuf: Any = II("optimization.use_bmuf")


@dataclass
class LayerwiseConfig(WholeWeightsConfig):
    """Flags common to layer-wise optimizers."""

    weight_decay: float = field(
        default=0.0, metadata={"help": "weight decay", "argparse_alias": "--wd"}
    )
    bas_rowwise_embeddings: bool = field(
        default=False,
        metadata={"help": "treat each row of an embedding, the vector of a word, as a layer"},
    )
    bas_include_vectors: bool = field(
        default=False,
        metadata={"help": "adapt and decay biases and the gains of norms like matrices"},
    )


def require_whole_weights(cfg: Any, params: Sequence[torch.Tensor], flag: str) -> None:
    """Refuse a run in which the optimizer would not see whole tensors in full precision.

    Args:
        cfg: config with the fields of `WholeWeightsConfig`.
        params: what fairseq gave the optimizer.
        flag: how the user chose the optimizer.

    Raises:
        UserError: if weights or state are split, flattened, in half precision only or trained
            apart.
    """
    given = {
        "--ddp-backend fully_sharded": str(cfg.ddp_backend) == "fully_sharded",
        "--zero-sharding os": str(cfg.zero_sharding) == "os",
        "--use-bmuf": bool(cfg.use_bmuf),
    }
    for other, is_given in given.items():
        if is_given:
            raise UserError(
                f"{flag} needs whole weights that all workers share, which {other} does not "
                f"give; leave {other} out"
            )
    if any(p.dtype in HALF for p in params):
        raise UserError(
            f"{flag} needs a float32 copy of weights in half precision, which "
            "--memory-efficient-fp16 and --memory-efficient-bf16 leave out; pass --fp16 "
            "--fp16-no-flatten-grads or --bf16 alone"
        )
    if all(p.ndim < 2 for p in params):
        raise UserError(
            f"{flag} finds no layers, since --fp16 flattens all weights into one vector; pass "
            "--fp16-no-flatten-grads too"
        )


def first_lr(cfg: Any) -> float:
    """Return the learning rate of the first epoch."""
    return cfg.lr[0] if isinstance(cfg.lr, Collection) else cfg.lr


class BasLayerwise(FairseqOptimizer):
    """Base of the glue; subclasses say what ``flag`` chooses and how it is configured."""

    flag: str
    optimizer_class: type
    ratio_name = "trust_ratio"

    def __init__(self, cfg, params):
        super().__init__(cfg)
        params = list(params)
        require_whole_weights(cfg, params, self.flag)
        with refuse_with(self.flag):
            self._optimizer = self.optimizer_class(params, **self.optimizer_config)
        self._ordered, self._groups = params, None

    @property
    def supports_flat_params(self):
        """Return False: one flat tensor has no layers."""
        return False

    def name_parameters(self, names: Sequence[str]) -> None:
        """Learn the names of the parameters, and make embeddings row-wise where asked for.

        Args:
            names: of the trained parameters of model and criterion, as ``named_parameters`` gives
                them and in its order, which is that of the parameters this optimizer got.

        Raises:
            ValueError: if there are more or fewer names than parameters.
            UserError: if there is no embedding to be treated row-wise.
        """
        if len(names) != len(self._ordered):
            raise ValueError(f"{len(names)} names do not name {len(self._ordered)} parameters")
        self._groups = [module_group(name) for name in names]
        if self.cfg.bas_rowwise_embeddings:
            self._split_embeddings(names)

    def _split_embeddings(self, names: Sequence[str]) -> None:
        group, *already_split = self._optimizer.param_groups
        if already_split:
            return
        named = list(zip(names, self._ordered, strict=True))
        embeddings = [p for name, p in named if is_embedding(name) and p.ndim > 1]
        if not embeddings:
            raise UserError(
                "--bas-rowwise-embeddings finds no weight named embed... or ..._embedding in this "
                "model; leave it out"
            )
        others = [p for name, p in named if not (is_embedding(name) and p.ndim > 1)]
        options = {key: value for key, value in group.items() if key != "params"}
        group["params"] = others
        self._optimizer.add_param_group({**options, "params": embeddings, "rowwise": True})

    def step(self, closure=None, scale=1.0, groups=None):
        """Make an update.

        Raises:
            UserError: if rows were asked for and nobody told which parameters are embeddings.
        """
        if self._groups is None and self.cfg.bas_rowwise_embeddings:
            raise UserError(
                "--bas-rowwise-embeddings needs the names of the parameters, which this training "
                "command does not give; train with fairseq-train --user-dir, or leave it out"
            )
        super().step(closure, scale, groups)

    def load_state_dict(self, state_dict, optimizer_overrides=None):
        """Restore what `state_dict` returned.

        Raises:
            UserError: if the state is of other layers.
        """
        saved, ours = (
            [len(group["params"]) for group in groups]
            for groups in (state_dict["param_groups"], self._optimizer.param_groups)
        )
        if saved != ours:
            raise UserError(
                f"the checkpoint's state of {self.flag} has parameters in groups of {saved} and "
                f"this run of {ours}; give --bas-rowwise-embeddings as in the saved run, or pass "
                "--reset-optimizer"
            )
        super().load_state_dict(state_dict, optimizer_overrides)

    def metrics(self) -> dict[str, float]:
        """Return the mean ratio of the latest update's layers for each part of the model.

        Returns:
            ``trust_ratio_encoder`` and so on, or ``trust_ratio`` for all where no names are known;
            each tensor counts once. Empty before the first update.
        """
        of = self._optimizer.ratios()
        groups = self._groups or [""] * len(self._ordered)
        chosen = [(of[p], group) for p, group in zip(self._ordered, groups, strict=True) if p in of]
        means = mean_by_group([ratio for ratio, _ in chosen], [group for _, group in chosen])
        return {f"{self.ratio_name}_{group}".rstrip("_"): mean for group, mean in means.items()}
