import numpy as np
import pytest
import torch

from sensorium import device_constant, to_device
from sensorium.devices import find_device
from sensorium.errors import RecipeError

VALUES = [
    np.array([True, False, True]),
    np.arange(6, dtype=np.int64).reshape(2, 3)[:, ::-1].copy(),
    torch.tensor(2.5, dtype=torch.float64),
    [0.5, 1.5],
    [],
    np.ones((3, 2, 2), np.uint8),
    torch.arange(5, dtype=torch.bfloat16),
    torch.arange(6.0).reshape(2, 3).T,
]


def test_on_the_cpu_values_are_what_as_tensor_makes_of_them():
    for value, made in zip(VALUES, to_device(VALUES, "cpu"), strict=True):
        assert torch.equal(made, torch.as_tensor(value))
        assert made.dtype == torch.as_tensor(value).dtype
    shared = torch.zeros(3)
    assert to_device([shared], "cpu")[0] is shared
    assert to_device([], "meta") == []


def test_values_of_any_dtype_arrive_in_one_copy(monkeypatch):
    copies = []

    def copying(tensor, device, non_blocking=False):
        copies.append((torch.device(device).type, non_blocking))
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "to", copying)
    arrived = to_device(VALUES, "meta")
    monkeypatch.undo()
    assert copies == [("meta", True)]
    for value, made in zip(VALUES, arrived, strict=True):
        assert torch.equal(made, torch.as_tensor(value))
        assert made.dtype == torch.as_tensor(value).dtype


def test_values_reach_the_device_with_their_shapes():
    arrived = to_device(VALUES, "meta")
    assert [(t.device.type, t.dtype, t.shape) for t in arrived] == [
        ("meta", t.dtype, t.shape) for t in map(torch.as_tensor, VALUES)
    ]


made = []


@device_constant
def ramp(size: int, step: float = 1.0) -> torch.Tensor:
    made.append((size, step))
    return torch.from_numpy(np.arange(size) * step)


def test_a_constant_is_made_once_for_each_device_and_each_argument():
    made.clear()
    cpu, meta = torch.device("cpu"), torch.device("meta")
    assert ramp(cpu, 3, step=2.0).tolist() == [0.0, 2.0, 4.0]
    assert ramp(cpu, 3, step=2.0) is ramp(cpu, 3, step=2.0)
    assert ramp(meta, 3, step=2.0).device.type == "meta"
    assert ramp(meta, 3, step=2.0) is ramp(meta, 3, step=2.0)
    assert len(ramp(cpu, 4)) == 4
    assert made == [(3, 2.0), (3, 2.0), (4, 1.0)]


def test_a_constant_made_in_inference_mode_can_be_trained_with():
    with torch.inference_mode():
        constant = ramp(torch.device("cpu"), 5)
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)
    (weight * constant).sum().backward()
    assert weight.grad.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_both_are_compiled_whole_on_the_cpu():
    @torch.compile(fullgraph=True, backend="eager")
    def compiled(x, offsets):
        (there, scale) = to_device([offsets, [2.0]], x.device)
        return x * scale + there + ramp(x.device, 7)

    x, offsets = torch.arange(7.0), torch.ones(7)
    assert torch.equal(compiled(x, offsets), x * 2.0 + 1.0 + ramp(x.device, 7))


def test_the_shape_of_a_constant_is_one_to_the_compiler():
    @torch.compile(fullgraph=True, backend="eager")
    def compiled(x):
        return (x @ ramp(x.device, 12).reshape(2, 6).float()).unflatten(1, (-1, 3)) + ramp(x.device, 12).shape[0]

    torch._dynamo.reset()
    with torch._dynamo.config.patch(assume_static_by_default=False):
        assert compiled(torch.ones(2, 2)).shape == (2, 2, 3)


def test_the_best_device_is_cuda_then_the_cpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto", "--device") == torch.device("cpu")
    assert "mps has no fp64" in caplog.text
    assert "--device=mps" in caplog.text
    assert find_device("mps", "--device") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert find_device("auto", "--device") == torch.device("cuda")
    assert find_device("cuda:1", "--device") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda", "cuda:2", "cuda:one", "tpu", ""])
def test_a_device_that_is_not_there_is_named_with_those_that_are(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name.startswith("cuda:"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(RecipeError, match=f"^--device is '{name}', .* no such device: use .*cpu, or auto"):
        find_device(name, "--device")
