"""Blocks that are computed again give the gradients of blocks that are kept, at less memory."""

import copy

import pytest
import torch
from torch import nn

from sensorium import build
from sensorium.blocks.lora import adapt
from sensorium.contracts import Encoder, LayerStack
from sensorium.errors import RecipeError
from sensorium.models.learner import Learner, make_views
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import seed_globals
from sensorium.training.gradient_checkpointing import checkpoint_blocks
from sensorium.types import Features, RecordBatch, View
from tests import toys

EXTENSIONS = load_extensions({}, [])


def learner_and_views(objective, depth=3, **encoder):
    """Return a learner on images with stochastic depth, and the views of a batch."""
    vit = {"name": "vit", "patch": 4, "width": 16, "depth": depth, "heads": 2, "drop_path": 0.4, **encoder}
    views = {"mae": "plain", "byol": "simclr"}[objective]
    recipe = {
        "data": {"batch": 6},
        "modalities": {"image": {"modality": {"name": "image", "size": 16}, "views": views, "encoder": vit}},
        "objective": objective,
        "train": {"steps": 1},
    }
    plan = make_plan(read_recipe(recipe, EXTENSIONS.registry), EXTENSIONS)
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 16, 16), generator=rng, dtype=torch.uint8)
    batch = plan.modalities["image"].batch_of(pixels)
    records = RecordBatch(list("abcdef"), {"image": batch}, {"image": None}, {})
    return plan.learner().train(), make_views(records, plan.generators, rng)


def gradients(learner, views):
    seed_globals("step")
    outcome = learner(views)
    outcome.loss.backward()
    found = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return {"loss": outcome.loss.detach(), **found}


@pytest.mark.parametrize("objective", ["mae", "byol"])
@pytest.mark.parametrize("adapted", [False, True])
def test_gradients_are_those_of_blocks_that_are_kept(objective, adapted):
    learner, views = learner_and_views(objective)
    if adapted:
        adapt(learner.encoders["image"], rng=torch.Generator().manual_seed(0))
        for name, parameter in learner.named_parameters():
            if name.endswith(".B"):
                nn.init.normal_(parameter, std=0.1)
    again = copy.deepcopy(learner)
    checkpoint_blocks(dict(again.encoders.items()))
    kept, recomputed = gradients(learner, views), gradients(again, views)
    assert kept.keys() == recomputed.keys()
    assert any("blocks.1" in name for name in kept)
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert list(again.state_dict()) == list(learner.state_dict())
    assert all(isinstance(block, type(old)) for block, old in zip(_blocks(again), _blocks(learner), strict=True))


def _blocks(learner):
    return learner.encoders["image"].layer_stack().blocks


def saved_bytes(learner, views):
    """Return how much memory a forward pass keeps for the backward pass."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        learner(views)
    return sum(storage.nbytes() for storage in kept.values())


def test_memory_grows_by_the_input_of_a_block_alone():
    growth = {}
    for recomputed in (False, True):
        sizes = []
        for depth in (2, 6):
            learner, views = learner_and_views("byol", depth)
            if recomputed:
                checkpoint_blocks(dict(learner.encoders.items()))
            sizes.append(saved_bytes(learner, views))
        growth[recomputed] = (sizes[1] - sizes[0]) / 4
    inputs = 12 * 16 * 16 * 4  # two views of six images, 16 patches of width 16, float32
    assert growth[True] <= 1.5 * inputs
    assert growth[True] < 0.15 * growth[False]


class Normed(Encoder):
    """A block with batch norm."""

    dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))])

    def layer_stack(self):
        return LayerStack(self.blocks)

    def forward(self, batch):
        return Features(self.blocks[0](batch.values))


def test_blocks_with_running_statistics_are_refused():
    learner = Learner({"a": Normed()}, build("objective", "simclr"))
    with pytest.raises(RecipeError, match=r"blocks of the encoder of 'a' keep running statistics \(BatchNorm1d\)"):
        checkpoint_blocks(dict(learner.encoders.items()))
    learner.encoders["a"].requires_grad_(False)
    checkpoint_blocks(dict(learner.encoders.items()))  # nothing of it is computed twice
    assert type(learner.encoders["a"].blocks[0]) is nn.Sequential


def test_an_encoder_without_layers_is_refused():
    learner = Learner({"a": toys.MLP(toys.VectorModality())}, build("objective", "simclr"))
    with pytest.raises(RecipeError, match=r"train.gradient_checkpointing goes by the layers of the encoder, and MLP"):
        checkpoint_blocks(dict(learner.encoders.items()))


def test_twice_is_once_and_evaluation_computes_nothing_again():
    learner, _ = learner_and_views("mae")
    checkpoint_blocks(dict(learner.encoders.items()))
    cls = type(_blocks(learner)[0])
    checkpoint_blocks(dict(learner.encoders.items()))
    assert type(_blocks(learner)[0]) is cls
    batch = View(learner_and_views("mae")[1]["image"][0].batch).batch
    with torch.inference_mode():
        learner.eval().encode("image", batch)


@pytest.mark.slow
def test_a_compiled_learner_computes_its_blocks_again():
    learner, views = learner_and_views("byol", drop_path=0.0)
    again = copy.deepcopy(learner)
    checkpoint_blocks(dict(again.encoders.items()))
    compiled = torch.compile(again)
    seed_globals("step")
    compiled(views).loss.backward()
    found = {name: p.grad for name, p in again.named_parameters() if p.grad is not None}
    for name, gradient in gradients(learner, views).items():
        if name != "loss":
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)
