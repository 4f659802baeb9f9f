"""A step with adapters, or blocks that are computed again, waits for the device no more often than one without."""

import pytest
import torch

from sensorium.blocks.lora import adapt
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.testing.emulation import emulate_steps
from sensorium.training.gradient_checkpointing import checkpoint_blocks
from sensorium.types import RecordBatch

STEPS = 2


def emulated(adapted, recomputed, precision):
    extensions = load_extensions({}, [])
    vit = {"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2, "drop_path": 0.2}
    recipe = {
        "data": {"batch": 4},
        "modalities": {"image": {"modality": {"name": "image", "size": 8}, "views": "simclr", "encoder": vit}},
        "objective": {"name": "byol", "width": 16, "dim": 8},
        "train": {"steps": STEPS},
    }
    plan = make_plan(read_recipe(recipe, extensions.registry), extensions)
    learner, rng = plan.learner(), torch.Generator().manual_seed(0)
    if adapted:
        adapt(learner.encoders["image"], rng=torch.Generator().manual_seed(0))
    if recomputed:
        checkpoint_blocks(dict(learner.encoders.items()))
    batches = [
        RecordBatch(
            list("abcd"),
            {
                "image": plan.modalities["image"].batch_of(
                    torch.randint(0, 256, (4, 3, 8, 8), generator=rng, dtype=torch.uint8)
                )
            },
            {"image": None},
            {},
        )
        for _ in range(STEPS)
    ]
    return emulate_steps(learner, plan.generators, batches, precision)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_nothing_more_is_waited_for(precision):
    plain = emulated(False, False, precision)
    for kinds in ((True, False), (False, True), (True, True)):
        steps = emulated(*kinds, precision)
        assert list(map(len, steps.synchronizations)) == list(map(len, plain.synchronizations)), kinds
        assert all(torch.isfinite(torch.tensor(steps.losses)))
