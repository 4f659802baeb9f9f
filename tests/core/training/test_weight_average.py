import copy

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from sensorium.training.weight_average import WeightAverage


class Ops(TorchDispatchMode):
    """Remembers the names of operations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def learner():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made.teachers = {}  # as of a learner without frozen ones
    return made


def changed(module, step):
    torch.manual_seed(step)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.copy_(torch.randn(tensor.shape).to(tensor.dtype))


def test_it_is_that_of_torch_and_reads_its_checkpoints():
    module = learner()
    ours, theirs = WeightAverage(module, 0.9, "cpu"), AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for step in range(4):
        changed(module, step)
        ours.update()
        theirs.update_parameters(module)
    found, expected = ours.state_dict(), theirs.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    resumed = WeightAverage(learner(), 0.9, "cpu")
    resumed.load_state_dict(copy.deepcopy(expected))
    assert resumed._updates == 4
    assert all(
        torch.equal(p, q) for p, q in zip(resumed._averaged.parameters(), theirs.module.parameters(), strict=True)
    )


def test_a_step_reads_no_value_and_copies_no_buffer():
    module = learner()
    average = WeightAverage(module, 0.9, "cpu")
    for _ in range(2):
        with Ops() as ops:
            average.update()
        assert "_local_scalar_dense" not in ops.names
        assert "copy_" not in ops.names
