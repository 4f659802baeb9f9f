"""A checkpoint of some ranks is loaded on others, under another strategy, to the bit."""

import json
import resource
import signal

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from sensorium.errors import RunError
from sensorium.optimizers.lars import LARS
from sensorium.optimizers.muon import muon
from sensorium.parallel.batch_norm import synchronize
from sensorium.runs.checkpoint import Checkpoints
from sensorium.seeding import seed_globals
from sensorium.training.fabric import shard, without_broadcast
from tests.distributed.ranks import on_ranks
from tests.distributed.test_sharded import LEAST, ROWS, learner_of, views_of

OPTIMIZERS = {
    "adamw": lambda learner: torch.optim.AdamW(learner.parameters(), lr=0.01, amsgrad=True),
    "sgd": lambda learner: torch.optim.SGD(learner.parameters(), lr=0.1),
    "lars": lambda learner: LARS(learner.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, trust=0.1),
    "muon": lambda learner: muon(learner, lr=0.01, weight_decay=0.01),
}
CASES = [("moco", "fsdp", "adamw"), ("shared-align", "fsdp", "muon"), ("byol", "ddp", "lars")]
ADDED = {"average": {"module.w": torch.arange(5.0), "n_averaged": torch.tensor(3)}, "recipe": {"seed": 1}}


def whole(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def made(world, name, strategy, optimizer):
    """Return a learner, the module that is called in its place, and its optimizer."""
    learner = learner_of(name)
    synchronize(learner)
    module = learner
    if strategy == "ddp":
        module = DistributedDataParallel(learner, **without_broadcast())
    elif strategy == "fsdp":
        shard(learner, init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",)), LEAST)
    return learner, module, OPTIMIZERS[optimizer](learner)


def step_of(rank, world, name, learner, module, optimizer, step):
    cuts = [round(ROWS * r / world) for r in range(world + 1)]
    seed_globals("step", step)
    module(views_of(name, step, torch.arange(cuts[rank], cuts[rank + 1]))).loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    learner.objective.after_step((step + 1) / 4)


def state_of(learner, optimizer, part=whole):
    """Return every weight, buffer and tensor of the optimizer: whole, or the rank's own part."""
    names = {parameter: name for name, parameter in learner.named_parameters()}
    found = {name: part(tensor).clone() for name, tensor in learner.state_dict().items()}
    for parameter, state in optimizer.state.items():
        found |= {f"{names[parameter]}/{k}": part(x).clone() for k, x in state.items() if isinstance(x, torch.Tensor)}
    return found


def own(value):
    return value.to_local() if isinstance(value, DTensor) else value


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def saved(rank, world, folder, case):
    """Return the whole state at a checkpoint, and this rank's own then, and after another step."""
    learner, module, optimizer = made(world, *case)
    step_of(rank, world, case[0], learner, module, optimizer, 0)
    checkpoints = Checkpoints(folder / "-".join(case), 2, sharded=True, asynchronous=case[0] == "moco")
    checkpoints.begin(1, learner, optimizer, ADDED)
    states = [state_of(learner, optimizer), state_of(learner, optimizer, own)]
    step_of(rank, world, case[0], learner, module, optimizer, 1)  # while it is written, where it is asynchronous
    checkpoints.finish()
    return [*states, state_of(learner, optimizer, own)]


def loaded(rank, world, folder, case, strategy):
    """Return a learner, the module that is called in its place and an optimizer, loaded from a checkpoint."""
    learner, module, optimizer = made(world, case[0], strategy, case[2])
    with torch.no_grad():
        for tensor in learner.state_dict().values():
            tensor.zero_()
    checkpoint = Checkpoints(folder / "-".join(case), 2).latest()
    checkpoint.restore(learner, optimizer)
    assert torch.equal(checkpoint.extra("average")["module.w"], ADDED["average"]["module.w"])
    return learner, module, optimizer


def on_two(rank, world, folder):
    """Return the states that are saved; they are loaded as they were, and go on so, and under the other strategy."""
    found = {}
    for case in CASES:
        found[case], at_checkpoint, after = saved(rank, world, folder, case)
        learner, module, optimizer = loaded(rank, world, folder, case, case[1])
        assert equal(state_of(learner, optimizer, own), at_checkpoint)
        step_of(rank, world, case[0], learner, module, optimizer, 1)
        assert equal(state_of(learner, optimizer, own), after), "as if it had not stopped"
        assert not equal(after, at_checkpoint)
        learner, _, optimizer = loaded(rank, world, folder, case, {"ddp": "fsdp", "fsdp": "ddp"}[case[1]])
        assert equal(state_of(learner, optimizer), found[case])
    return found


def on_three(rank, world, folder):
    found = {}
    for case in CASES:
        learner, _, optimizer = loaded(rank, world, folder, case, case[1])
        found[case] = state_of(learner, optimizer)
    return found


def test_a_checkpoint_of_two_ranks_is_loaded_on_one_two_and_three_to_the_bit(tmp_path):
    folder, three = tmp_path / "checkpoints", tmp_path / "three"
    three.mkdir()
    states, others = on_ranks(2, on_two, tmp_path, folder)
    for case in CASES:
        assert equal(states[case], others[case])
        each_rank_wrote_its_part(folder / "-".join(case) / "step-000000001.ckpt")
        learner, _, optimizer = loaded(0, 1, folder, case, "none")
        assert equal(state_of(learner, optimizer), states[case])
    for found in on_ranks(3, on_three, three, folder):
        for case in CASES:
            assert equal(found[case], states[case])


def each_rank_wrote_its_part(folder):
    sizes = [sum(file.stat().st_size for file in folder.glob(f"shard-0000{rank}-*")) for rank in (1, 2)]
    assert sum(sizes) * 0.3 < min(sizes), (folder, sizes)
    described = json.loads((folder / "checkpoint.json").read_text())["files"]
    assert sorted(described) == sorted(file.name for file in folder.glob("*.safetensors"))


def failing(rank, world, folder):
    """Return what is said when the second rank cannot write, and which checkpoints there are."""
    learner, _, optimizer = made(world, "byol", "fsdp", "adamw")
    checkpoints = Checkpoints(folder, 2, sharded=True)
    checkpoints.save(1, learner, optimizer, {})
    if rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(RunError) as caught:
        checkpoints.save(2, learner, optimizer, {})
    if rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)[1:] * 2)
    return str(caught.value), checkpoints.latest().step, sorted(path.name for path in folder.iterdir())


def test_a_rank_that_cannot_write_is_heard_by_all(tmp_path):
    for sentence, step, names in on_ranks(2, failing, tmp_path, tmp_path / "checkpoints"):
        assert "step-000000002.ckpt could not be written" in sentence
        assert "what was written before is intact" in sentence
        assert step == 1
        assert names == ["step-000000001.ckpt"]
