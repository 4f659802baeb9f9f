"""Rates that decay by layer, and what is frozen up to one."""

import pytest
import torch
from torch import nn

from sensorium.contracts import Encoder, LayerStack
from sensorium.errors import RecipeError
from sensorium.models.depth import freeze, layer_numbers, rate_factors, rest_frozen
from sensorium.models.learner import Learner
from sensorium.models.optimization import make_optimization, split_groups
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.recipe.schema import Optimizer
from sensorium.registration.discovery import load_extensions
from sensorium.training.learning_rate import LearningRate
from sensorium.types import Features

EXTENSIONS = load_extensions({}, [])
VIT = {"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2, "pool": "cls"}


def plan_of(objective="simclr", changes=(), **tower):
    recipe = {
        "data": {"batch": 4},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 8},
                "views": "simclr" if objective == "simclr" else "plain",
                "encoder": VIT,
                **tower,
            }
        },
        "objective": objective,
        "train": {"steps": 10},
    }
    return make_plan(read_recipe(recipe, EXTENSIONS.registry, changes), EXTENSIONS)


def rates(plan, optimizer="adamw", lr=1.0):
    """Return the learning rate of every trained parameter, by name."""
    learner = plan.learner()
    settings = Optimizer(name=optimizer, lr=lr, weight_decay=0.1)
    made = make_optimization(settings, EXTENSIONS.registry, "optimizer").optimizer(
        learner, factors=plan.rate_factors(learner)
    )
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    return {names[id(p)]: group["lr"] for group in made.param_groups for p in group["params"]}, made


TABLE = {
    "cls": 0.125,
    "embed.proj.weight": 0.125,
    "embed.proj.bias": 0.125,
    "blocks.0.norm1.weight": 0.25,
    "blocks.0.attn.qkv.weight": 0.25,
    "blocks.0.mlp.fc2.bias": 0.25,
    "blocks.1.norm1.weight": 0.5,
    "blocks.1.attn.proj.bias": 0.5,
    "norm.weight": 1.0,
    "norm.bias": 1.0,
}
"""The learning rates of two blocks at a decay of a half, and of what lies before and behind them."""


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lars", "muon"])
@pytest.mark.parametrize("objective", ["simclr", "mae"])
def test_rates_fall_from_the_last_layer_to_the_first_and_heads_have_the_full_one(optimizer, objective):
    found, _ = rates(plan_of(objective, layer_decay=0.5), optimizer)
    assert {name: found[f"encoders.image.{name}"] for name in TABLE} == TABLE
    assert {rate for name, rate in found.items() if name.startswith("objective.")} == {1.0}
    assert len(found) == sum(p.requires_grad for p in plan_of(objective).learner().parameters())


def test_groups_keep_their_options_and_their_share_of_every_rate():
    plan = plan_of(layer_decay=0.5)
    _, optimizer = rates(plan, lr=2.0)
    for group in optimizer.param_groups:
        assert group["weight_decay"] == (0.1 if group["params"][0].ndim >= 2 else 0.0)
        assert group["lr"] == 2.0 * group.get("lr_scale", 1.0)
        assert len({p.ndim >= 2 for p in group["params"]}) == 1
    rate = LearningRate(optimizer, plan.optimization, 10)
    for step in range(10):
        rate.set(step)
        for group in optimizer.param_groups:
            assert group["lr"] == pytest.approx(rate.at(step) * group.get("lr_scale", 1.0))
    assert rate.peak == 2.0


def test_without_a_decay_groups_are_those_of_the_optimizer():
    plan = plan_of()
    assert plan.rate_factors(plan.learner()) == {}
    _, optimizer = rates(plan)
    assert [group.get("lr_scale") for group in optimizer.param_groups] == [None, None]
    assert set(rates(plan_of(layer_decay=1.0))[0].values()) == {1.0}


def test_a_strangers_optimizer_around_another_one_sees_the_split_groups():
    class Around(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner, self.param_groups, self.state, self.defaults = inner, inner.param_groups, inner.state, {}

    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = Around(torch.optim.SGD([first, second], lr=1.0))
    split_groups(optimizer, {id(first): 0.5})
    for parameter in (first, second):
        parameter.grad = torch.ones(1)
    optimizer.inner.step()
    assert (first.item(), second.item()) == (0.5, 0.0)


def test_an_encoder_that_does_not_say_its_layers_is_told_before_any_data_is_read():
    encoder = {"name": "timm", "model": "resnet18"}  # never made
    for asked in ({"layer_decay": 0.5}, {"frozen": 0}):
        with pytest.raises(RecipeError, match=r"goes by the layers of the encoder.*define Encoder.layer_stack.*vit"):
            plan_of(**asked, encoder=encoder)
    with pytest.raises(RecipeError, match=r"^train.gradient_checkpointing goes by the layers"):
        plan_of(encoder=encoder, changes=["train.gradient_checkpointing=true"])
    with pytest.raises(RecipeError, match=r"^finetune.layer_decay goes by the layers"):
        plan_of(encoder=encoder, changes=["finetune.layer_decay=0.5"])
    with pytest.raises(RecipeError, match=r"^x goes by the layers of the encoder, and Linear does not say"):
        rate_factors(nn.Linear(2, 2), 0.5, "x")


class Layered(Encoder):
    """Two blocks, with dropout and batch norm everywhere, and bare parameters before and behind."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.drop = nn.Linear(4, 4), nn.Dropout()
        self.position, self.scale = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.ones(4))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout()) for _ in range(2))
        self.end = nn.Dropout()

    def layer_stack(self):
        return LayerStack(self.blocks, [self.end, self.scale])

    def forward(self, batch):
        x_BD = self.drop(self.embed(batch) + self.position)
        for block in self.blocks:
            x_BD = block(x_BD)
        return Features(self.end(x_BD) * self.scale)


def test_layers_are_counted_from_the_embeddings():
    encoder = Layered()
    numbers = layer_numbers(encoder, encoder.layer_stack())
    found = {name: numbers[id(parameter)] for name, parameter in encoder.named_parameters()}
    assert {found["position"], found["embed.weight"], found["embed.bias"]} == {0}
    assert {number for name, number in found.items() if name.startswith("blocks.1")} == {2}
    assert found["scale"] == 3


@pytest.mark.parametrize(
    ("frozen", "modes", "trained"),
    [
        (False, {"embed": 1, "drop": 1, "blocks.0.2": 1, "blocks.1.1": 1, "end": 1}, 12),
        (0, {"embed": 0, "drop": 0, "blocks.0.2": 1, "blocks.1.1": 1, "end": 1}, 9),
        (1, {"embed": 0, "drop": 0, "blocks.0.1": 0, "blocks.0.2": 0, "blocks.1.1": 1, "blocks.1.2": 1, "end": 1}, 5),
        (2, {"embed": 0, "drop": 0, "blocks.0.2": 0, "blocks.1.1": 0, "blocks.1.2": 0, "end": 1}, 1),
        (True, {"embed": 0, "drop": 0, "blocks.0.2": 0, "blocks.1.1": 0, "end": 0}, 0),
    ],
)
def test_what_is_frozen_has_no_gradient_no_dropout_and_its_statistics(frozen, modes, trained):
    encoder = Layered().train()
    freeze(encoder, frozen, "frozen")
    rest_frozen(encoder)
    assert {name: int(encoder.get_submodule(name).training) for name in modes} == modes
    assert sum(p.requires_grad for p in encoder.parameters()) == trained


def test_more_blocks_than_there_are_cannot_be_frozen():
    with pytest.raises(
        RecipeError, match=r"modalities.image.frozen is 3, but the encoder ViT has 2 blocks: give a smal"
    ):
        plan_of(frozen=3).learner()
    with pytest.raises(RecipeError, match="frozen is true, false or a number of blocks, at least 0; not -1"):
        plan_of(frozen=-1)


def test_a_learner_keeps_frozen_layers_at_rest_and_unfreezes_the_others_only():
    learner = plan_of(frozen=1, unfreeze=[0.5, 0.5]).learner().train()
    encoder = learner.encoders["image"]
    assert not encoder.blocks[0].training
    assert encoder.blocks[1].training
    learner.eval().train()
    learner.freeze_statistics({"image": (0.5, 0.5)}, 0.1)
    assert not encoder.blocks[1].training
    learner.freeze_statistics({"image": (0.5, 0.5)}, 0.6)
    assert encoder.blocks[1].training
    assert not encoder.blocks[0].training
    for parameter in learner.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    learner.drop_frozen_gradients({"image": (0.5, 0.5)}, 0.6)
    assert encoder.blocks[1].mlp.fc1.weight.grad is not None
    assert encoder.blocks[0].mlp.fc1.weight.grad is None


def test_what_an_encoder_freezes_itself_stays_frozen():
    class Held(Layered):
        def __init__(self) -> None:
            super().__init__()
            self.position.requires_grad_(False)

    encoder = Held()
    freeze(encoder, False, "frozen")
    assert not encoder.position.requires_grad
    assert encoder.scale.requires_grad


def test_adapters_are_trained_at_the_rate_of_their_layer_and_draw_nothing_from_first_weights():
    plain, adapted = plan_of().learner(), plan_of(lora={"rank": 2}).learner()
    state = adapted.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in plain.state_dict().items())
    found, _ = rates(plan_of(lora={"rank": 2}, layer_decay=0.5))
    assert found["encoders.image.blocks.0.attn.qkv.lora_weight.A"] == 0.25
    assert found["encoders.image.blocks.1.mlp.fc1.lora_weight.B"] == 0.5
    assert not [name for name in found if name.startswith("encoders.") and ".lora_" not in name]
    again, other = plan_of(lora={"rank": 2}).learner(), plan_of(lora={"rank": 2}, changes=["seed=1"]).learner()
    key = "encoders.image.blocks.0.attn.qkv.lora_weight.A"
    assert torch.equal(again.state_dict()[key], state[key])
    assert not torch.equal(other.state_dict()[key], state[key])


def test_adapters_beyond_frozen_blocks_and_not_with_all_frozen():
    learner = plan_of(frozen=1, lora={"targets": "attention"}).learner()
    trained = [name for name, p in learner.encoders["image"].named_parameters() if p.requires_grad]
    assert trained
    assert all(name.startswith("blocks.1.attn.") for name in trained)
    with pytest.raises(RecipeError, match="leave frozen out"):
        plan_of(frozen=True, lora={})
    with pytest.raises(RecipeError, match=r"^modalities.image.lora.targets: the encoder has no .*'q_proj'"):
        plan_of(lora={"targets": ["q_proj"]}).learner()


def test_a_learner_trains_an_adapted_encoder_as_a_whole():
    learner = plan_of(lora={}).learner().train()
    assert isinstance(learner, Learner)
    assert all(module.training for module in learner.encoders["image"].modules())
