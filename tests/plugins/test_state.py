"""What any registered objective remembers beyond its weights: teachers, queues, centers, progress.

Found in the registry: a new objective is tried as soon as it is registered, on the first modality that serves it.
"""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sensorium import Teacher
from sensorium.optimizers.adamw import adamw
from sensorium.seeding import seed_globals
from tests.distributed.ranks import on_ranks
from tests.golden.pairs import BATCH, Unserved, learner_and_views, objectives, pairs
from tests.plugins.joint_embedding import step

STEPS = 3


def made(objective):
    """Return a learner and what makes its views, on the first modality that serves the objective."""
    for name, names in pairs():
        if name == objective:
            try:
                return learner_and_views(objective, names)
            except Unserved:
                continue
    raise Unserved(f"no modality serves {objective}")


def optimizer_of(learner):
    return adamw(learner, 1e-3, weight_decay=0.05)


def trained(learner, views, start, stop, optimizer):
    for number in range(start, stop):
        step(learner, views(number), optimizer, number)


def memory(learner):
    """Return everything that no gradient moves, by name."""
    weights = {n for n, p in learner.named_parameters() if p.requires_grad}
    return {n: t for n, t in learner.state_dict().items() if n not in weights}


def stored(state):
    """Return a state as a checkpoint gives it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", objectives())
def test_nothing_that_is_remembered_is_in_the_optimizer(name):
    learner, _ = made(name)
    owned = {id(p) for group in optimizer_of(learner).param_groups for p in group["params"]}
    assert owned == {id(p) for p in learner.parameters() if p.requires_grad}
    for module in learner.modules():
        if isinstance(module, Teacher):
            assert not any(id(p) in owned for p in module.parameters())


@pytest.mark.parametrize("name", objectives())
def test_saved_and_resumed_bit_equal(name):
    learner, views = made(name)
    optimizer = optimizer_of(learner)
    trained(learner, views, 0, STEPS, optimizer)
    weights, moments = stored(learner.state_dict()), stored(optimizer.state_dict())
    other, _ = made(name)
    trained(other, views, 7, 8, optimizer_of(other))  # whatever it remembers is now something else
    other.load_state_dict(weights)
    other_optimizer = optimizer_of(other)
    other_optimizer.load_state_dict(moments)
    trained(learner, views, STEPS, STEPS + 2, optimizer)
    trained(other, views, STEPS, STEPS + 2, other_optimizer)
    for key, value in learner.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def plain(module):
    """Return what a module holds beside parameters, buffers and modules: numbers, and tensors that nobody saves."""
    kinds = (int, float, str, tuple, list, torch.Tensor)
    return {k: v for k, v in vars(module).items() if isinstance(v, kinds) and not k.startswith("_") and k != "training"}


@pytest.mark.parametrize("name", objectives())
def test_nothing_is_remembered_where_a_checkpoint_does_not_look(name):
    learner, views = made(name)
    before = {n: copy.deepcopy(plain(m)) for n, m in learner.named_modules()}
    trained(learner, views, 0, STEPS, optimizer_of(learner))
    for key, module in learner.named_modules():
        for attribute, value in plain(module).items():
            old = before[key][attribute]
            same = torch.equal(value, old) if isinstance(value, torch.Tensor) else value == old
            assert same, f"{key}.{attribute} moves, and is no buffer"


def test_a_counter_that_is_no_buffer_is_noticed():
    """The negative control of the test above."""
    learner, views = made("moco")
    learner.objective.count = 0
    push = learner.objective.queue.push
    learner.objective.queue.push = lambda rows, ids: (push(rows, ids), setattr(learner.objective, "count", 1))
    before = plain(learner.objective)
    trained(learner, views, 0, 1, optimizer_of(learner))
    assert plain(learner.objective) != before


def on_one_rank(rank, world):
    found = {}
    rows = range(5) if rank == 0 else range(5, BATCH)
    for name in objectives():
        try:
            learner, views = made(name)
        except Unserved:
            continue
        optimizer = optimizer_of(learner)
        model = DistributedDataParallel(learner)
        for number in range(STEPS):
            seed_globals("step", number, rank)
            optimizer.zero_grad()
            model(views(number, rows)).loss.backward()
            optimizer.step()
            learner.objective.after_step((number + 1) / STEPS)
        normed = {
            f"{n}.{b}"
            for n, m in learner.named_modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm)
            for b, _ in m.named_buffers()
        }
        found[name] = {key: value for key, value in learner.state_dict().items() if key not in normed}
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_ranks(2, on_one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", objectives())
def test_two_ranks_with_different_records_remember_the_same(name, ranks):
    first, second = (rank[name] for rank in ranks)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        assert not value.is_floating_point() or value.isfinite().all(), key
