import pytest

from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from tests import toys


@pytest.mark.parametrize("objective", ["clip", "siglip", "align", "volume"])
def test_no_parameter_is_a_scalar_which_fsdp_cannot_shard(objective):
    extensions = toys.extensions()
    recipe = read_recipe({**toys.pair_recipe(), "objective": {"name": objective, "dim": 8}}, extensions.registry)
    learner = make_plan(recipe, extensions).learner()
    assert [name for name, parameter in learner.named_parameters() if parameter.ndim == 0] == []
