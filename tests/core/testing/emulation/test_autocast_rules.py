"""Autocast on the emulated device follows CUDA's lists, not the CPU's."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sensorium.testing.emulation import Emulation, autocast_rules, emulated_device

A, B, C = torch.bfloat16, torch.float32, torch.float64


@pytest.fixture
def autocast():
    with Emulation(), torch.autocast("emulated", dtype=torch.bfloat16):
        yield


def ones(*shape, dtype=B):
    return torch.ones(*shape, dtype=dtype, device=emulated_device())


@pytest.mark.parametrize(
    ("name", "operation", "expected"),
    [
        ("linear", lambda: F.linear(ones(2, 2), ones(2, 2)), A),
        ("matmul", lambda: ones(2, 2) @ ones(2), A),
        ("conv", lambda: F.conv2d(ones(1, 1, 2, 2), ones(1, 1, 1, 1)), A),
        ("attention", lambda: F.scaled_dot_product_attention(ones(1, 2, 4), ones(1, 2, 4), ones(1, 2, 4)), A),
        ("fp64 stays", lambda: F.linear(ones(2, 2, dtype=C), ones(2, 2, dtype=C)), C),
        ("exp", lambda: ones(2, dtype=A).exp(), B),
        ("layer norm", lambda: F.layer_norm(ones(2, dtype=A), (2,)), B),
        ("sum", lambda: ones(2, dtype=A).sum(), B),
        ("sum of a dimension", lambda: ones(2, dtype=A).sum(0), B),
        ("sum with a dtype", lambda: ones(2, dtype=A).sum(dtype=A), A),
        ("softmax", lambda: ones(2, dtype=A).softmax(0), B),
        ("norm", lambda: ones(2, dtype=A).norm(), B),
        ("mean is not listed", lambda: ones(2, dtype=A).mean(), A),
        ("promote", lambda: torch.addcmul(ones(2), ones(2, dtype=A), ones(2, dtype=A)), B),
        ("relu is not listed", lambda: ones(2, dtype=A).relu(), A),
        ("inside of attention", lambda: nn.MultiheadAttention(2, 1).to("emulated")(*[ones(1, 1, 2)] * 3)[0], A),
        ("recurrent", lambda: nn.GRU(2, 2).to("emulated")(ones(1, 1, 2))[0], A),
    ],
)
def test_an_operation_computes_in_the_dtype_that_cuda_chooses(autocast, name, operation, expected):
    assert operation().dtype == expected


@pytest.mark.parametrize("name", ["index_copy", "index_add", "scatter"])
def test_what_cuda_does_not_promote_clashes(autocast, name):
    """The CPU's autocast promotes `index_copy`, so that this fault shows on a GPU only."""
    index = torch.zeros(1, 2, dtype=torch.int64, device=emulated_device())
    with pytest.raises(RuntimeError, match=r"dtype|same scalar type"):
        getattr(ones(2, 2), name)(0, index if name == "scatter" else index[0, :1], ones(1, 2, dtype=A))


def test_a_region_without_autocast_computes_in_the_dtype_of_its_inputs(autocast):
    with torch.autocast("emulated", enabled=False):
        assert F.linear(ones(2, 2), ones(2, 2)).dtype == B
        with pytest.raises(RuntimeError):
            F.linear(ones(2, 2), ones(2, 2, dtype=A))


def test_what_cuda_bans_is_refused(autocast):
    with pytest.raises(RuntimeError, match="unsafe to autocast"):
        F.binary_cross_entropy(ones(2), ones(2))


def test_gradients_reach_fp32_weights_in_fp32(autocast):
    layer = nn.Linear(2, 2).to("emulated")
    layer(ones(1, 2)).sum().backward()
    assert layer.weight.grad.dtype == B


def test_the_lists_are_those_of_the_header():
    assert "linear" in autocast_rules.operators("LOWER_PRECISION_FP")
    assert "sum.dim_IntList" in autocast_rules.operators("FP32_SET_OPT_DTYPE")
    assert "pow.Tensor_Scalar" in autocast_rules.operators("FP32")
    assert "scatter_add" in autocast_rules.operators("PROMOTE")
