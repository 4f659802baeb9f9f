"""Ranks that train adapters, with blocks computed again and rates by layer, train as one process on the whole batch."""

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from sensorium import build
from sensorium.blocks.lora import adapt, is_factor, merged_weights
from sensorium.contracts import Encoder, LayerStack
from sensorium.models.depth import rate_factors
from sensorium.models.learner import Learner
from sensorium.models.optimization import make_optimization
from sensorium.recipe.schema import Optimizer
from sensorium.registration.discovery import load_extensions
from sensorium.runs.checkpoint import Checkpoints
from sensorium.seeding import seed_globals
from sensorium.training.fabric import shard, without_broadcast
from sensorium.training.gradient_checkpointing import checkpoint_blocks
from sensorium.types import Features, View
from tests import toys
from tests.distributed.ranks import on_ranks

ROWS, STEPS, LEAST = 12, 2, 64
CUTS = (0, 5, 12)


class Attending(Encoder):
    """Blocks of attention, whose input projection is no linear layer of its own."""

    dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True) for _ in range(2)
        )

    def layer_stack(self):
        return LayerStack(self.blocks, [self.norm], self.norm)

    def forward(self, batch):
        x_B1D = self.embed(batch.values)[:, None]
        for block in self.blocks:
            x_B1D = block(x_B1D)
        return Features(self.norm(x_B1D)[:, 0])


def learner_of(adapted=True):
    """Return a student with adapters, and its teacher; no factor is zero."""
    seed_globals("adapters")
    encoder = Attending()
    if adapted:
        adapt(encoder, rank=2, norms=True, rng=torch.Generator().manual_seed(0))
    for name, parameter in encoder.named_parameters():
        if name.endswith(".B"):
            nn.init.normal_(parameter, std=0.1)
    learner = Learner({"a": encoder}, build("objective", "byol", width=16, dim=8), views=2)
    return learner.double().eval()  # batch norms of heads: a rank's own rows are not what is tested here


def views_of(step, rows):
    rng = torch.Generator().manual_seed(step)
    return [View(toys.VectorBatch(torch.randn(ROWS, 8, generator=rng, dtype=torch.float64)[rows])) for _ in range(2)]


def whole(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def trained(rank, world, strategy, folder):
    """Return gradients of each step, and what the learner is after them, saved in the middle and read again."""
    learner = learner_of()
    checkpoint_blocks(dict(learner.encoders.items()))
    module = learner
    if strategy == "ddp":
        module = DistributedDataParallel(learner, **without_broadcast())
    elif strategy == "fsdp":
        shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), LEAST)
        assert sum(isinstance(part, FSDPModule) for part in learner.modules()) > 2
    registry = load_extensions({}, []).registry
    optimization = make_optimization(Optimizer(lr=0.1, weight_decay=0.1), registry, "optimizer")
    optimizer = optimization.optimizer(learner, factors=rate_factors(learner.encoders["a"], 0.5, "layer_decay"))
    found, rows = {}, slice(0, ROWS) if world == 1 else slice(CUTS[rank], CUTS[rank + 1])
    for step in range(STEPS):
        seed_globals("step", step)
        module(views_of(step, rows)).loss.backward()
        found |= {f"{step} {n}": whole(p.grad).clone() for n, p in learner.named_parameters() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
        learner.objective.after_step((step + 1) / STEPS)
        checkpoints = Checkpoints(folder, 9)
        folder.mkdir(exist_ok=True)
        checkpoints.save(step + 1, learner, optimizer, {})
        checkpoints.read(str(step + 1)).restore(learner, optimizer)
    return found | {f"after {n}": whole(p).detach().clone() for n, p in learner.state_dict().items()}


def both(rank, world, folder):
    return {strategy: trained(rank, world, strategy, folder / strategy) for strategy in ("ddp", "fsdp")}


def test_gradients_and_states_are_those_of_one_process(tmp_path):
    alone = trained(0, 1, "none", tmp_path / "alone")
    assert any(is_factor(name.partition(" ")[2]) for name in alone if name.startswith("0 "))
    plain = {name.removeprefix("after ") for name in alone if name.startswith("after ") and not is_factor(name)}
    assert plain == learner_of(adapted=False).state_dict().keys()
    ranks = on_ranks(2, both, tmp_path, tmp_path)
    for strategy in ("ddp", "fsdp"):
        for of_rank in ranks:
            assert set(of_rank[strategy]) == set(alone)
            for name, expected in alone.items():
                said = lambda m, n=name: f"{strategy} {n}: {m}"  # noqa: E731, B023
                torch.testing.assert_close(of_rank[strategy][name], expected, rtol=1e-5, atol=1e-9, msg=said)
        written = torch.load(tmp_path / strategy / "step-000000002.ckpt", weights_only=True)["learner"]
        assert merged_weights(written).keys() == plain
