"""Several ranks train as one process does on the whole batch: gradients and buffers, with batch norm in training mode.

Every rank has its slice of the views of one batch; slices are uneven.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from sensorium.models.learner import Learner
from sensorium.parallel.batch_norm import synchronize
from sensorium.seeding import seed_globals
from sensorium.training.fabric import without_broadcast
from sensorium.types import View
from tests.distributed.ranks import on_ranks
from tests.golden import pairs

OPTIONS = {"moco": {"bn_splits": 1}, "dino": {"freeze_prototypes": 0.0}, "swav": {"freeze_prototypes": 0.0}}
CASES = [
    *[(name, "image") for name in ("simclr", "byol", "moco", "moco-v3", "vicreg", "barlow-twins", "dino")],
    ("nnclr", "timeseries"),
    ("simclr", "graph"),
    ("vicreg", "timeseries"),
    ("byol", "audio"),
]
ENCODERS = {"image": "cnn", "graph": "gin", "timeseries": "inception", "audio": "conv"}
CUTS = {2: (0, 3, 8), 4: (0, 2, 5, 6, 8)}
STEPS = 2


def learner_of(objective, modality):
    cls = pairs.registry().find("objectives", objective).load()
    encoder_cls = pairs.registry().find("encoders", ENCODERS[modality], modality).load()
    seed_globals("whole batch", objective, modality)
    encoder = encoder_cls(pairs.fitted(modality)[0], **pairs.small(encoder_cls, skip=1))
    learner = Learner({modality: encoder}, cls(**pairs.small(cls) | OPTIONS.get(objective, {})), views=2).double()
    for module in learner.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert any(isinstance(m, _BatchNorm) for m in learner.encoders.modules())
    return learner.train()


def rows_of(view: View, rows: torch.Tensor) -> View:
    batch = view.batch.select(rows)
    wide = {n: t.double() for n, t in batch.tensors().items() if t.is_floating_point()}
    keys = {name: ids[rows] for name, ids in view.keys.items()}
    return replace(view, batch=replace(batch, **wide), keys=keys)


def views_of(modality, step, rows):
    """Return two views of each record, as double numbers, at some of the records."""
    _, batch = pairs.fitted(modality)
    generator = pairs.built("views", modality, lambda views: views.views == 2 and not views.negative_views)
    ids = torch.arange(pairs.BATCH)
    made = generator(batch, torch.Generator().manual_seed(step))
    named = [replace(view, modality=modality, keys={"record": ids, "group": ids}) for view in made]
    return {modality: [rows_of(view, rows) for view in named]}


def trained(rank, world, objective, modality, cuts):
    """Return gradients of each step, and what the learner is after them."""
    learner = learner_of(objective, modality)
    synchronize(learner)
    module = DistributedDataParallel(learner, **without_broadcast()) if world > 1 else learner
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.1)
    found = {}
    for step in range(STEPS):
        seed_globals("step", step)
        module(views_of(modality, step, torch.arange(cuts[rank], cuts[rank + 1]))).loss.backward()
        found |= {f"step {step} {n}": p.grad.clone() for n, p in learner.named_parameters() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
        learner.objective.after_step((step + 1) / STEPS)
    return found | {f"buffer {name}": value.clone() for name, value in learner.named_buffers()}


def all_cases(rank, world, cases):
    return {case: trained(rank, world, *case, CUTS[world]) for case in cases}


@pytest.mark.parametrize(
    ("world", "cases"), [(2, CASES), (4, [("byol", "image"), ("moco-v3", "image"), ("simclr", "graph")])]
)
def test_gradients_and_buffers_are_those_of_one_process(world, cases, tmp_path):
    found = on_ranks(world, all_cases, tmp_path, cases)
    for case in cases:
        whole = trained(0, 1, *case, (0, pairs.BATCH))
        for of_rank in found:
            assert set(of_rank[case]) == set(whole)
        for name, expected in whole.items():
            of_ranks = [of_rank[case][name] for of_rank in found]
            assert all(torch.equal(one, of_ranks[0]) for one in of_ranks), f"{case}: {name} is equal on all ranks"
            scale = float(expected.abs().max()) if expected.numel() else 0.0
            torch.testing.assert_close(
                of_ranks[0],
                expected,
                rtol=1e-5,
                atol=1e-7 * scale + 1e-12,
                msg=lambda m, c=case, n=name: f"{c} {n}: {m}",
            )
