"""Adapters reach every linear map, however its weight is used; merging changes nothing."""

import copy

import pytest
import torch
from timm.models.eva import EvaAttention
from torch import nn
from transformers.pytorch_utils import Conv1D

from sensorium.blocks.lora import (
    adapt,
    is_adapted,
    is_factor,
    linear_maps,
    merge,
    merged_copy,
    merged_parameters,
    merged_weights,
)
from sensorium.errors import RecipeError
from sensorium.optimizers.groups import hidden_matrices


class Attending(nn.Module):
    """Attention of torch, called with one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x_BTD):
        return self.attn(x_BTD, x_BTD, x_BTD, need_weights=False)[0]


class Everything(nn.Module):
    """Every way in which a weight is read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend = nn.Linear(8, 8), Attending()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.eva = EvaAttention(8, 2, qkv_bias=True, qkv_fused=True, scale_norm=False)
        self.norm = nn.LayerNorm(8)

    def forward(self, x_BTD):
        return self.norm(self.eva(self.layer(self.attend(self.embed(x_BTD)))))


def made(module: nn.Module, **options) -> nn.Module:
    """Return an adapted module with random factors."""
    adapt(module, rng=torch.Generator().manual_seed(0), **options)
    rng = torch.Generator().manual_seed(1)
    for name, parameter in module.named_parameters():
        if is_factor(name) and not parameter.any():
            nn.init.normal_(parameter, generator=rng)
    return module


KINDS = {
    "linear": lambda: nn.Linear(8, 8),
    "attention": Attending,
    "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
    "qkv with a bias of its own": lambda: EvaAttention(8, 2, qkv_bias=True, qkv_fused=True, scale_norm=False),
    "Conv1D of transformers": lambda: Conv1D(16, 8),
    "everything": Everything,
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_bypasses_an_adapter(kind):
    torch.manual_seed(0)
    plain, x_BTD = KINDS[kind](), torch.randn(3, 5, 8)
    begun = copy.deepcopy(plain)
    names = adapt(begun, rng=torch.Generator().manual_seed(0))
    assert names == list(linear_maps(plain)), "and it is known before"
    torch.testing.assert_close(begun(x_BTD), plain(x_BTD))
    module = made(copy.deepcopy(plain)).train()
    trained_BTD = module(x_BTD)
    assert (trained_BTD - plain(x_BTD)).abs().max() > 0.1
    trained_BTD.square().mean().backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None) == is_factor(name), name
        if is_factor(name):
            assert parameter.grad.abs().max() > 0, name
    with torch.inference_mode():  # where torch has its fast paths
        torch.testing.assert_close(module.eval()(x_BTD), trained_BTD.detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(merged_copy(module)(x_BTD), trained_BTD.detach(), rtol=1e-5, atol=1e-5)


def test_every_adapter_changes_what_comes_out():
    torch.manual_seed(0)
    module, x_BTD = made(Everything()), torch.randn(3, 5, 8)
    before = module(x_BTD)
    for name, parameter in module.named_parameters():
        if name.endswith(".B"):
            kept = parameter.detach().clone()
            with torch.no_grad():
                parameter.zero_()
                assert (module(x_BTD) - before).abs().max() > 1e-4, name
                parameter.copy_(kept)


def test_a_merged_copy_is_plain_and_its_names_are_those_of_the_module():
    torch.manual_seed(0)
    plain = Everything()
    module = made(copy.deepcopy(plain))
    merged = merged_copy(module)
    assert is_adapted(module)
    assert not is_adapted(merged)
    assert [type(part) for part in merged.modules()] == [type(part) for part in plain.modules()]
    assert list(merged.state_dict()) == list(plain.state_dict())
    for name, tensor in merged_weights(module.state_dict()).items():
        assert torch.equal(tensor, merged.state_dict()[name]), name
    for adapted, own in zip(merged_parameters(module), merged.parameters(), strict=True):
        assert torch.equal(adapted, own)
    plain.load_state_dict(merged_weights(module.state_dict()))
    weights = {name for name in module.state_dict() if not is_factor(name)}
    assert weights == set(plain.state_dict()), "pretrained weights load into an adapted module, too"
    assert merge(merged) is merged


def test_weights_of_low_precision_are_merged_in_fp32():
    torch.manual_seed(0)
    module = nn.Linear(64, 64).bfloat16()
    adapt(module, rank=1, alpha=1.0, rng=torch.Generator().manual_seed(0))
    nn.init.constant_(module.lora_weight.B, 0.05)
    expected = module._parameters["weight"].float() + module.lora_weight.B @ module.lora_weight.A
    assert torch.equal(merged_copy(module).weight, expected.bfloat16())
    wide = nn.Linear(64, 64)
    adapt(wide, rank=1, alpha=1.0, rng=torch.Generator().manual_seed(0))
    nn.init.constant_(wide.lora_weight.B, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        adapted = wide.weight
    assert torch.equal(adapted, wide.weight)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("attention", ["attend.attn.in_proj", "attend.attn.out_proj", "layer.self_attn.in_proj"]),
        (["qkv"], ["eva.qkv"]),
        (["layer.linear?", "embed"], ["embed", "layer.linear1", "layer.linear2"]),
    ],
)
def test_maps_are_chosen_by_kind_or_name(targets, expected):
    names = adapt(Everything(), targets=targets, rng=torch.Generator())
    assert names[: len(expected)] == expected
    assert targets == "attention" or len(names) == len(expected)


def test_what_is_not_there_is_named_with_what_is():
    with pytest.raises(
        RecipeError, match=r"no trainable linear map 'q_proj'.* Its linear maps: embed, attend.attn.in_p"
    ):
        adapt(Everything(), targets=["q_proj"], rng=torch.Generator())
    with pytest.raises(RecipeError, match="no trainable linear maps of attention"):
        adapt(nn.Sequential(nn.Linear(2, 2)), targets="attention", rng=torch.Generator())
    with pytest.raises(RecipeError, match="no trainable linear maps"):
        adapt(nn.Conv1d(2, 2, 1), rng=torch.Generator())


def test_shared_and_frozen_maps_keep_their_weights():
    module = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4), "c": nn.Linear(4, 4), "d": nn.Linear(4, 4)})
    module["b"].weight = module["a"].weight
    module["c"].requires_grad_(False)
    assert adapt(module, rng=torch.Generator()) == ["d"]
    assert module["b"].weight is module["a"].weight


def test_biases_and_norms_are_trained_when_asked_for():
    def trained(**options):
        module = Everything()
        adapt(module, rng=torch.Generator(), **options)
        return {name for name, p in module.named_parameters() if p.requires_grad and not is_factor(name)}

    assert trained() == set()
    norms = {
        "layer.norm1.weight",
        "layer.norm1.bias",
        "layer.norm2.weight",
        "layer.norm2.bias",
        "norm.weight",
        "norm.bias",
    }
    assert trained(norms=True) == norms
    biases = trained(bias=True)
    assert {"embed.bias", "eva.q_bias", "attend.attn.in_proj_bias"} <= biases
    assert not biases & norms


def test_muon_takes_no_factors():
    module = made(Everything())
    assert hidden_matrices(module) == []


@pytest.mark.slow
def test_a_compiled_module_does_not_bypass_adapters():
    torch.manual_seed(0)
    module, x_BTD = made(Everything()), torch.randn(3, 5, 8)
    torch.testing.assert_close(torch.compile(module, fullgraph=True)(x_BTD), module(x_BTD), rtol=1e-4, atol=1e-4)
