"""Weights of a file come into an encoder under its own names; what differs is listed."""

import logging

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sensorium import Encoder, Features, LayerStack
from sensorium.errors import PluginError, RecipeError
from sensorium.weights import load_weights


class Two(Encoder):
    """Two linear maps."""

    dim = 3
    lacks = ("second.bias",)
    ignores = ("head.*",)

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 4), nn.Linear(4, 3)

    def convert_weights(self, weights):
        return {name.replace("one.", "first."): tensor for name, tensor in weights.items()}

    def forward(self, batch):
        return Features(self.second(self.first(batch.values)))


@pytest.fixture
def file(tmp_path):
    """Return what writes a file with the weights of another such encoder, changed."""

    def write(change):
        torch.manual_seed(3)
        weights = change({name: tensor.clone() for name, tensor in Two().state_dict().items()})
        save_file(weights, tmp_path / "file.safetensors")
        return tmp_path / "file.safetensors"

    return write


def renamed(**names):
    return lambda weights: {
        next((name.replace(old, new) for old, new in names.items() if old in name), name): tensor
        for name, tensor in weights.items()
    }


@pytest.mark.parametrize(
    "change",
    [
        dict,
        renamed(first="one"),
        lambda w: {f"module._orig_mod.{name}": tensor for name, tensor in w.items()},
        lambda w: {f"backbone.body.{name}": tensor for name, tensor in w.items()} | {"neck.weight": torch.ones(2)},
        lambda w: w | {"head.weight": torch.ones(2)},
        lambda w: {name: tensor for name, tensor in w.items() if name != "second.bias"},
    ],
)
def test_layouts(file, change):
    path, encoder = file(change), Two()
    kept = encoder.second.bias.clone()
    report = load_weights(encoder, path)
    torch.manual_seed(3)
    for name, tensor in Two().state_dict().items():
        if name in report.missing:
            assert torch.equal(encoder.second.bias, kept)
        else:
            assert torch.equal(encoder.state_dict()[name], tensor), name
    assert report.loaded == 4 - len(report.missing)


def test_what_is_tolerated_is_logged(file, caplog):
    with caplog.at_level(logging.INFO, "sensorium"):
        report = load_weights(Two(), file(lambda w: {"head.weight": torch.ones(2)} | {k: w[k] for k in list(w)[:3]}))
    assert (report.missing, report.unexpected) == (("second.bias",), ("head.weight",))
    said = [record.getMessage() for record in caplog.records]
    assert "weights: 3 tensors are loaded from" in said[0]
    assert "missing, and random: second.bias." in said[1]
    assert "not used: head.weight." in said[2]


def test_what_differs_is_an_error_that_lists_it(file):
    def other(weights):
        del weights["first.bias"]
        return weights | {"second.weight": torch.ones(5, 4), "third.weight": torch.ones(1)}

    with pytest.raises(
        RecipeError,
        match=r"modalities.a.weights: .*file.safetensors does not fit the encoder Two: of 4 tensors, 1 missing "
        r"\(first.bias\), 1 unexpected \(third.weight\), 1 of another shape \(second.weight 5x4 instead of 3x4\)",
    ):
        load_weights(Two(), file(other), path="modalities.a.weights")


def test_the_digest_is_of_the_weights_not_of_the_file(file, tmp_path):
    first = load_weights(Two(), file(dict)).digest
    assert load_weights(Two(), file(renamed(first="one"))).digest == first
    assert load_weights(Two(), file(lambda w: w | {"first.bias": w["first.bias"] + 1})).digest != first
    torch.manual_seed(3)
    torch.save(Two().half().float().state_dict(), tmp_path / "file.pth")
    assert load_weights(Two(), tmp_path / "file.pth").digest != first


def test_a_stack_of_layers_has_each_once_and_its_norm_behind_them():
    blocks, norm = [nn.Linear(2, 2), nn.Linear(2, 2)], nn.LayerNorm(2)
    assert LayerStack(blocks, [norm], norm).norm is norm
    with pytest.raises(PluginError, match="names a layer twice"):
        LayerStack([*blocks, blocks[0]])
    with pytest.raises(PluginError, match="names a layer twice"):
        LayerStack(blocks, [blocks[1]])
    with pytest.raises(PluginError, match="norm of a LayerStack is not in `behind`"):
        LayerStack(blocks, [], norm)
