"""The emulated device computes what the CPU computes, and refuses what CUDA refuses."""

import copy

import pytest
import torch
from torch import nn

from sensorium.testing.emulation import Emulation, emulated_device


@pytest.fixture
def device():
    with Emulation():
        yield emulated_device()


def test_a_step_of_a_network_is_that_of_the_cpu(device):
    def step(device):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)).to(device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        net(torch.linspace(-1, 1, 48).reshape(2, 3, 8).to(device)).square().sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return [x.cpu() for x in (*net.parameters(), *net.buffers())]

    assert all(torch.equal(one, other) for one, other in zip(step(device), step("cpu"), strict=True))


@pytest.mark.parametrize("network", [nn.GRU(4, 6), nn.LSTM(4, 6), nn.MultiheadAttention(4, 2), nn.EmbeddingBag(9, 4)])
def test_networks_with_kernels_of_their_own_run(device, network):
    x = torch.arange(8).reshape(2, 4) if isinstance(network, nn.EmbeddingBag) else torch.ones(2, 3, 4)
    inputs = [x] * (3 if isinstance(network, nn.MultiheadAttention) else 1)
    expected = network(*inputs)
    found = copy.deepcopy(network).to(device)(*(x.to(device) for x in inputs))
    expected, found = (each[0] if isinstance(each, tuple) else each for each in (expected, found))
    found.sum().backward()
    assert torch.allclose(expected, found.cpu(), atol=1e-6)


def test_a_view_shares_its_values_and_a_copy_does_not(device):
    x = torch.zeros(2, 3, device=device)
    x[0].add_(1)
    y = x.clone().mul_(2)
    x.detach().t_()[0, 1] = 5
    assert x.tolist() == [[1, 1, 1], [5, 0, 0]]
    assert y.tolist() == [[2, 2, 2], [0, 0, 0]]
    assert x.unsqueeze(0).squeeze_(0).shape == (2, 3)


def test_random_draws_are_those_of_the_cpu_by_a_generator_of_the_device(device):
    drawn = torch.rand(3, generator=torch.Generator(device).manual_seed(5), device=device)
    assert torch.equal(drawn.cpu(), torch.rand(3, generator=torch.Generator().manual_seed(5)))
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.rand(3, generator=torch.Generator(), device=device)
    with pytest.raises(RuntimeError, match="device type for generator"):
        torch.rand(3, generator=torch.Generator(device))


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, device: x.to(device) + x,
        lambda x, device: torch.cat([x, x.to(device)]),
        lambda x, device: nn.functional.linear(x.to(device), x),
        lambda x, device: x.add_(x.to(device)),
        lambda x, device: x.to(device).index_select(0, torch.tensor([0])),
        lambda x, device: x[torch.tensor([0], device=device)],
        lambda x, device: torch.tensor(1.0).add_(x.to(device).sum()),
    ],
)
def test_tensors_of_several_devices_are_refused(device, mix):
    with pytest.raises(RuntimeError, match="same device"):
        mix(torch.ones(2, 2), device)


def test_a_scalar_of_the_cpu_may_stand_beside_the_device(device):
    x = torch.ones(2, device=device)
    assert (x * torch.tensor(2.0)).tolist() == [2, 2]
    assert torch.where(x > 0, x, torch.tensor(0.0)).tolist() == [1, 1]


@pytest.mark.parametrize(
    "clash",
    [
        lambda x, i: x.index_add_(0, i, x[:1].bfloat16()),
        lambda x, i: x.index_copy_(0, i, x[:1].bfloat16()),
        lambda x, i: x.scatter_(0, i[:, None], x[:1].bfloat16()),
        lambda x, i: torch.mm(x, x.bfloat16()),
        lambda x, i: torch.linalg.cholesky(x.bfloat16()),
    ],
)
def test_dtypes_that_do_not_fit_are_refused_without_autocast(device, clash):
    with pytest.raises(RuntimeError):
        clash(torch.eye(2, device=device), torch.tensor([0], device=device))


def test_values_of_the_device_are_no_arrays(device):
    with pytest.raises(TypeError, match="copy the tensor to host memory first"):
        torch.ones(2, device=device).numpy()


def test_outside_of_the_emulation_nothing_is_changed(device):
    generator = torch.Generator
    with Emulation():
        pass
    assert torch.Generator is generator
    x = torch.ones(3, requires_grad=True)
    x.sum().backward()
    assert type(x.grad) is torch.Tensor
