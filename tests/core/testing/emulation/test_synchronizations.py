"""Each planted synchronization is found, and what CUDA does without waiting is not."""

import pytest
import torch

from sensorium.devices import to_device
from sensorium.testing.emulation import Emulation, emulated_device, table

PLANTED = {
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "if": lambda x: 1 if x[0] > 0 else 0,
    "a slice by a tensor": lambda x: x[: x[0].long()],
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "print": lambda x: x.to("cpu"),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "boolean mask": lambda x: x[x > 0],
    "assignment by a boolean mask": lambda x: x.__setitem__(x > 0, x.clone()),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "repeat_interleave": lambda x: x.repeat_interleave(torch.ones_like(x).long()),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
    "cholesky": lambda x: torch.linalg.cholesky(torch.eye(2).to(x.device, non_blocking=True)),
    "tensor of a list": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "tensor of a number": lambda x: torch.tensor(1.0, device=x.device),
    "blocking copy": lambda x: torch.ones(2).pin_memory().to(x.device),
    "copy from pageable memory": lambda x: torch.ones(2).to(x.device, non_blocking=True),
    "index of the host": lambda x: x[torch.tensor([0])],
    "index that is a list": lambda x: x[[0, 2]],
    "copy into the host": lambda x: torch.zeros(3).copy_(x),
    "in backward": lambda x: _ReadsInBackward.apply(x.clone().requires_grad_()).sum().backward(),
}
FREE = {
    "arithmetic": lambda x: (x * 2 + 1).softmax(0).sum(),
    "pinned copy": lambda x: torch.ones(2).pin_memory().to(x.device, non_blocking=True),
    "part of a pinned tensor": lambda x: torch.ones(2).pin_memory()[1:].to(x.device, non_blocking=True),
    "packed host values": lambda x: to_device([[1, 2], 3.0, torch.tensor([True])], x.device),
    "filling by a boolean mask": lambda x: x.__setitem__(x > 0, 0.0),
    "filling a slice": lambda x: x.__setitem__(slice(0, 1), 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 0, 0.0),
    "index of the device": lambda x: x[torch.zeros(2, dtype=torch.int64, device=x.device)],
    "repeat_interleave of known size": lambda x: x.repeat_interleave(torch.ones_like(x).long(), output_size=3),
    "full": lambda x: torch.full((2,), 1.0, device=x.device),
    "randperm": lambda x: torch.randperm(5, device=x.device),
    "a scalar of the host": lambda x: x * torch.tensor(2.0),
    "moving to where it is": lambda x: x.to(x.device),
    "work of the host": lambda x: torch.ones(3)[torch.tensor([True, False, True])].tolist(),
}


class _ReadsInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * grad[0].item()


def found_in(action):
    with Emulation() as emulation:
        x = torch.ones(3, device=emulated_device())
        emulation.synchronizations.clear()
        action(x)
        return list(emulation.synchronizations)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_synchronization_is_found_where_it_is(name):
    found = found_in(PLANTED[name])
    assert found
    assert all("test_synchronizations.py" in each.where[0] for each in found)


@pytest.mark.parametrize("name", FREE)
def test_what_does_not_wait_is_not_counted(name):
    assert found_in(FREE[name]) == []


def test_the_table_counts_equal_ones():
    text = table(found_in(lambda x: [x[0].item() for _ in range(3)] + [x.cpu()]))
    first, second = text.splitlines()
    assert first.split()[:2] == ["3", "×"]
    assert "a value is read" in first
    assert "a copy to the host" in second
