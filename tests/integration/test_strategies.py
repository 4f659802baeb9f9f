"""Ranks that share out weights (FSDP) train to where ranks go that each hold all of them (DDP)."""

import pytest
import torch

from tests import toys
from tests.integration.test_resume import run, weights

BYOL = {"name": "byol", "width": 32, "dim": 8, "weight": 0.5, "start": 0.5}
SUM = [{"name": "simclr", "width": 32, "dim": 8}, {"name": "vicreg", "width": 16}, BYOL]
RECIPES = {
    "parts of batches": (toys.pair_recipe(), {"accumulate": 2}),
    "cached gradients": (toys.pair_recipe(), {"accumulate": 2, "gradient_cache": True}),
    "a sum, one term of which starts later": (toys.recipe(objective=SUM), {"accumulate": 2}),
}


@pytest.mark.parametrize("case", RECIPES)
def test_sharded_ranks_end_where_replicated_ones_end(case, tmp_path):
    recipe, options = RECIPES[case]
    train = {"steps": 4, "accelerator": "cpu", "devices": 2, **options}
    for strategy in ("ddp", "fsdp"):
        asked = recipe | {"train": train | {"strategy": strategy}, "optimizer": {"name": "sgd", "lr": 0.1}}
        done = run(recipe=asked, run_dir=str(tmp_path / strategy))
        assert done.returncode == 0, done.stderr
    replicated, sharded = weights(tmp_path / "ddp"), weights(tmp_path / "fsdp")
    assert replicated.keys() == sharded.keys()
    for name, tensor in replicated.items():
        torch.testing.assert_close(sharded[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
