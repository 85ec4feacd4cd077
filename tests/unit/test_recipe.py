"""Recipes: flags of the task and of the loss that exist and fit together."""

import pytest

from fairseq_bas.task.recipe import RECIPES
from tests.in_process import config_of
from tests.toys import tiny_transformer
from tests.unit import test_update


class Setup(test_update.Setup):
    """With the config of a run, in which a recipe finds what was not given."""

    read = staticmethod(config_of)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_reaches_task_and_loss(toy, recipe):
    ours = ("--criterion", "bas_cross_entropy", "--bas-recipe", recipe)
    setup = Setup(toy, tiny_transformer, *ours)
    settings = RECIPES[recipe]
    assert setup.task.replica_plan.largest().replicas == int(settings["bas_replicas"])
    for side in ("source", "target"):
        wanted = settings.get(f"bas_{side}_noise", "none")
        assert str(setup.task.noise_plan.policies[side]) == wanted
    assert setup.criterion.consistency == settings.get("bas_consistency", "none")
    told = Setup(toy, tiny_transformer, *ours, "--bas-replicas", 3, "--bas-consistency", "none")
    assert told.task.replica_plan.largest().replicas == 3
    assert told.criterion.consistency == "none"


def test_without_a_recipe_nothing_is_set(toy):
    setup = Setup(toy, tiny_transformer, "--criterion", "bas_cross_entropy")
    assert setup.task.replica_plan.largest().replicas == 1
    assert setup.criterion.consistency == "none"
