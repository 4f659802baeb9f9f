"""Ranks that shard weights (FSDP2), and ranks whose records lack a modality, train as one process on the whole batch.

Batch norm is in training mode; a rank without a modality encodes views with no rows.
"""

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from sensorium.models.learner import Learner, make_views, views_without_rows
from sensorium.optimizers.lars import LARS
from sensorium.optimizers.muon import muon
from sensorium.parallel.batch_norm import synchronize
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import seed_globals
from sensorium.training.fabric import blocks_of, shard, without_broadcast
from sensorium.training.finite_guard import Guard
from sensorium.types import Features, RecordBatch
from tests import toys
from tests.distributed.ranks import on_ranks

ROWS, STEPS, LEAST = 12, 2, 64
CUTS = {2: (0, 5, 12), 4: (0, 3, 6, 8, 12)}
OBJECTIVES = {
    "byol": {"width": 16, "dim": 8},
    "moco": {"width": 16, "dim": 8, "queue": 24, "bn_splits": 1},
    "dino": {"width": 16, "bottleneck": 8, "prototypes": 16, "freeze_prototypes": 0.0},
    "clip": {"dim": 8},
    "align": {"dim": 8},
    "shared-align": {"dim": 8},
    "volume": {"dim": 8},
}
NAMES = {"clip": ("a", "b"), "align": ("a", "b", "c"), "shared-align": ("a", "b", "c"), "volume": ("a", "b", "c")}
SHARING = {"shared-align": {"a": "a", "b": "a", "c": "c"}}
"""Towers that share an encoder: b has that of a."""


class Tower(toys.MLP):
    """Residual blocks with batch norm, each a block of its own under FSDP."""

    def __init__(self):
        super().__init__(toys.VectorModality(), dropout=0.0)
        block = lambda: nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16))  # noqa: E731
        self.blocks = nn.ModuleList(block() for _ in range(3))

    def forward(self, batch):
        x_BD = self.net(batch.values)
        for block in self.blocks:
            x_BD = x_BD + block(x_BD)
        return Features(x_BD)


def learner_of(name):
    cls = load_extensions({}, []).registry.find("objectives", name.removeprefix("shared-")).load()
    seed_globals("sharded", name)
    sharing = SHARING.get(name, {n: n for n in NAMES.get(name, ("a",))})
    encoders = {n: Tower() for n in dict.fromkeys(sharing.values())}
    return Learner(encoders, cls(**OBJECTIVES[name]), views=2, sharing=sharing).double().train()


def has(modality, rows):
    """Return which records have a modality: the first of each cut, those of whole ranks too, lack some."""
    return {"a": rows >= 0, "b": rows >= 5, "c": (rows < 3) | (rows > 9)}[modality]


def views_of(name, step, rows):
    """Return views of some records; of a modality that none of them has, views with no rows."""
    rng = torch.Generator().manual_seed(step)
    values = {n: torch.randn(ROWS, 8, generator=rng, dtype=torch.float64) for n in ("a", "b", "c")}
    noise = {n: torch.randn(2, ROWS, 8, generator=rng, dtype=torch.float64) for n in ("a", "b", "c")}
    names = NAMES.get(name, ("a",))

    class Noisy(toys.Noise):
        def __init__(self, modality):
            self.views, self.modality = (1 if len(names) > 1 else 2), modality

        def __call__(self, batch, rng):
            x_BD = batch.values[:, :8]
            made = [toys.VectorBatch(x_BD + 0.3 * noise[self.modality][i, batch.values[:, 8].long()]) for i in range(2)]
            return [toys.View(each) for each in made[: self.views]]

    def batch_of(modality, chosen):
        return toys.VectorBatch(torch.cat([values[modality][chosen], chosen[:, None].double()], dim=1))

    numbers = rows.numpy()
    present = {n: has(n, numbers) for n in names}
    batches = {n: batch_of(n, rows[torch.from_numpy(mask)]) for n, mask in present.items() if mask.any()}
    keys = dict.fromkeys(("record", "group"), rows)
    records = RecordBatch([str(i) for i in numbers], batches, {n: np.asarray(m) for n, m in present.items()}, keys)
    generators = {n: Noisy(n) for n in names}
    absent = {n: views_without_rows(generators[n], batch_of(n, torch.arange(1)), 0, rng) for n in names}
    return make_views(records, generators, rng, absent if len(names) > 1 else None)


def whole(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def trained(rank, world, name, strategy, cuts, optimizer="sgd"):
    """Return gradients of each step, and what the learner is after them."""
    learner = learner_of(name)
    synchronize(learner)
    module = learner
    if strategy == "ddp":
        module = DistributedDataParallel(learner, **without_broadcast())
    elif strategy == "fsdp":
        shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), LEAST)
        assert sum(isinstance(part, FSDPModule) for part in learner.modules()) > 3
    weights = [p for p in learner.parameters() if p.requires_grad]
    steps = {
        "sgd": lambda: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
        "lars": lambda: LARS(weights, lr=0.1, momentum=0.9, weight_decay=0.01, trust=0.1),
        "muon": lambda: muon(learner, lr=0.01, weight_decay=0.01),
    }[optimizer]()
    found = {}
    for step in range(STEPS):
        seed_globals("step", step)
        module(views_of(name, step, torch.arange(cuts[rank], cuts[rank + 1]))).loss.backward()
        found |= {f"{step} {n}": whole(p.grad).clone() for n, p in learner.named_parameters() if p.grad is not None}
        found[f"{step} norm"] = whole(nn.utils.clip_grad_norm_(weights, 0.5))
        steps.step()
        steps.zero_grad()
        learner.objective.after_step((step + 1) / STEPS)
    return found | {f"after {n}": whole(p).detach().clone() for n, p in learner.state_dict().items()}


def all_cases(rank, world, cases):
    return {case: trained(rank, world, *case[:2], CUTS[world], *case[2:]) for case in cases}


SHARDED = [("byol", "fsdp", "lars"), ("moco", "fsdp", "muon"), ("dino", "fsdp"), ("clip", "fsdp"), ("align", "fsdp")]
HOLED = [
    ("clip", "ddp", "muon"),
    ("align", "ddp"),
    ("align", "fsdp"),
    ("shared-align", "ddp"),
    ("shared-align", "fsdp"),
    ("volume", "fsdp"),
]


@pytest.mark.parametrize(("world", "cases"), [(2, [*SHARDED, *HOLED[:2], *HOLED[3:]]), (4, HOLED)])
def test_gradients_and_states_are_those_of_one_process(world, cases, tmp_path):
    found = on_ranks(world, all_cases, tmp_path, cases)
    for case in cases:
        alone = trained(0, 1, case[0], "none", (0, ROWS), *case[2:])
        for of_rank in found:
            assert set(of_rank[case]) == set(alone), case
            for name, expected in alone.items():
                scale = float(expected.abs().max()) if expected.is_floating_point() and expected.numel() else 0.0
                torch.testing.assert_close(
                    of_rank[case][name],
                    expected,
                    rtol=1e-5,
                    atol=1e-6 * scale + 1e-12,
                    msg=lambda m, c=case, n=name: f"{c} {n}: {m}",
                )


def peak(rank, world, least):
    """Return the most bytes of whole weights that a rank holds while a step runs, and the bytes of all weights."""
    learner = learner_of("byol")
    total = sum(p.nbytes for p in learner.parameters())
    shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), least)
    groups = [m._get_fsdp_state()._fsdp_param_group for m in learner.modules() if isinstance(m, FSDPModule)]
    groups = [group for group in groups if group is not None]
    most = 0

    def look():
        nonlocal most
        unsharded = [group for group in groups if group.is_unsharded]
        held = sum(p._orig_size.numel() * 8 for group in unsharded for p in group.fsdp_params)
        most = max(most, held)

    def look_in_both_passes(module, inputs, output):
        look()
        if isinstance(output, torch.Tensor) and output.requires_grad:
            output.register_hook(lambda gradient: look())

    for module in learner.modules():
        module.register_forward_hook(look_in_both_passes)
    learner(views_of("byol", 0, torch.arange(6 * rank, 6 * rank + 6))).loss.backward()
    return most, total


def test_no_rank_holds_all_weights_at_once(tmp_path):
    for name, least, fraction in (("blocks", LEAST, 0.75), ("root alone", 10**9, None)):
        for most, total in on_ranks(2, peak, _folder(tmp_path, name), least):
            if fraction is None:
                assert most == total, "without blocks, all of them"
            else:
                assert 0 < most <= fraction * total


def _folder(path, name):
    (path / name).mkdir()
    return path / name


def test_blocks_are_elements_of_lists_large_enough_inner_ones_first():
    tied = nn.Linear(16, 16)
    model = nn.ModuleDict(
        {
            "layers": nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 40)) for _ in range(2)),
            "tied": nn.ModuleList([tied]),
            "again": tied,
            "small": nn.Sequential(nn.Linear(2, 2)),
        }
    )
    first, second = model["layers"]
    assert blocks_of(model, 300) == [first[1], second[1]]
    assert blocks_of(model, 272) == [first[0], first[1], second[0], second[1]]
    assert blocks_of(model, 900) == [first, second]


def nonfinite(rank, world, folder):
    """Return what the guard says of a step in which the loss of rank 1 alone is nan, and of one without any."""
    learner = learner_of("byol")
    shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), LEAST)
    weights = [p for p in learner.parameters() if p.requires_grad]
    guard = Guard(Fabric(accelerator="cpu"), learner, torch.optim.SGD(weights, lr=0.1), folder, 3, 0)
    found = []
    for bad in (1, None):
        loss = learner(views_of("byol", 0, torch.arange(6 * rank, 6 * rank + 6))).loss
        loss = loss * torch.nan if rank == bad else loss
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, 1.0)
        assert isinstance(norm, DTensor)
        found.append(guard.is_finite(loss, norm))
        guard.optimizer.zero_grad()
    return found


def test_a_loss_that_is_nan_on_one_rank_skips_the_step_on_all(tmp_path):
    assert on_ranks(2, nonfinite, tmp_path, tmp_path) == [[False, True], [False, True]]
