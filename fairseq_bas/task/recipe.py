"""Named settings that hold up in docs/results.md, by the size of the training data."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

logger = logging.getLogger(__name__)

RECIPES: dict[str, dict[str, str]] = {
    "low-resource": {
        "bas_replicas": "4",
        "bas_source_noise": "mask=0.1",
        "bas_target_noise": "mask=0.1",
    },
    "medium": {"bas_replicas": "4"},
    "large": {"bas_replicas": "2"},
}
RECIPE_CHOICES = ChoiceEnum(list(RECIPES))


@dataclass
class RecipeConfig(FairseqDataclass):
    """Hold the flag that stands for several others."""

    bas_recipe: Optional[RECIPE_CHOICES] = field(
        default=None,
        metadata={
            "help": "settings by the size of the training data, see docs/guide.md; flags that are "
            "given as well win, the log says what was set"
        },
    )


def expand_recipe(cfg: Any) -> None:
    """Give the flags of a recipe their values, except those that the user has given.

    Args:
        cfg: a config with ``bas_recipe``, changed in place. Flags that it does not have, those of
            the criterion, are left to ``recipe_values``.
    """
    for name, value in recipe_values(cfg.bas_recipe, cfg).items():
        setattr(cfg, name, value)


def recipe_values(recipe: Optional[str], cfg: Any) -> Mapping[str, Any]:
    """Return the flags of a recipe that ``cfg`` has and the user has not given, and log them."""
    settings = RECIPES[str(recipe)] if recipe else {}
    values = {k: v for k, v in settings.items() if k in cfg and getattr(cfg, k) is None}
    for name, value in values.items():
        logger.info(f"--bas-recipe {recipe} sets --{name.replace('_', '-')} {value}")
    return values
