"""What fairseq's glue of layer-wise optimizers shares: the names of parameters and their ratios.

fairseq hands an optimizer parameters without names, or float32 copies of them. `name_parameters`
gets the names, in the same order, once the optimizer was built.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import UserError, refuse_with
from .bas_whole_weights import (
    WholeWeightsConfig,
    WholeWeightsOptimizer,
    first_lr,
    require_whole_weights,
)
from .trust_ratio import is_embedding, mean_by_group, module_group


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


class BasLayerwise(WholeWeightsOptimizer):
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
    def optimizer_config(self):
        """Return what the command line sets of all layer-wise optimizers; subclasses add theirs."""
        return {
            "lr": first_lr(self.cfg),
            "weight_decay": self.cfg.weight_decay,
            "include_vectors": self.cfg.bas_include_vectors,
        }

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
