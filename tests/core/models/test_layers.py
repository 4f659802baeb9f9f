"""What the layers of an encoder return: hooks, prefix, final norm, padding, widths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sensorium import Encoder, Features, LayerStack
from sensorium.errors import PluginError, RecipeError
from sensorium.feature_table import Layer
from sensorium.models.layers import encode_with_layers, layer_features, layers_of, pool_layers
from tests import toys


class Width:
    width, mean = 6, 0.0


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    encoder = toys.Numbers(Width()).eval()
    nn.init.normal_(encoder.norm.weight)
    nn.init.normal_(encoder.cls)
    return encoder


def batch(count=4):
    values = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
    values[:, 0] = torch.tensor([0.5, 3.2, 1.1, 2.7])[:count]  # 2, 5, 3 and 4 tokens
    return toys.VectorBatch(values)


@torch.no_grad()
def test_every_block_is_read_raw_and_behind_the_norm_by_its_valid_tokens_and_its_class_token(encoder):
    stack, given = encoder.layer_stack(), batch()
    features, layers = encode_with_layers(encoder, stack, given)
    pooled_BLD = pool_layers(stack, layers)
    assert layers_of(stack) == tuple(
        Layer(number, is_normed, pooling)
        for number in (1, 2)
        for pooling in ("mean", "class token")
        for is_normed in (False, True)
    )
    tokens = encoder.tokenize(given)
    x = torch.cat([encoder.cls.expand(4, -1, -1), tokens.x + tokens.positions], 1)
    for number, block in enumerate(encoder.blocks):
        x, _ = block(x)
        for is_normed, read in enumerate((x, encoder.norm(x))):
            for row, count in enumerate((2, 5, 3, 4)):
                torch.testing.assert_close(pooled_BLD[row, 4 * number + is_normed], read[row, 1 : 1 + count].mean(0))
                torch.testing.assert_close(pooled_BLD[row, 4 * number + 2 + is_normed], read[row, 0])
    assert torch.equal(features.pooled, encoder(given).pooled)


class Watchful(Encoder):
    """Notes whether its block has hooks while it runs: then torch's transformer layer takes no fast path."""

    def __init__(self):
        super().__init__()
        self.dim, self.hooks = 8, None
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, batch):
        x = self.block(batch.values[..., None] * torch.linspace(-1, 1, 8))
        self.hooks = [hook for module in self.modules() for hook in module._forward_hooks.values()]
        return Features(x.mean(1), x)


@torch.no_grad()
def test_reading_layers_changes_no_bit_of_the_features():
    torch.manual_seed(0)
    encoder, given = Watchful().eval(), batch()
    features, _ = encode_with_layers(encoder, LayerStack([encoder.block]), given)
    assert torch.equal(features.pooled, encoder(given).pooled)
    encode_with_layers(encoder, LayerStack([encoder.block]), given)
    assert encoder.hooks == []


class Pyramid(Encoder):
    """Stages of growing width, the second of which writes into its input."""

    def __init__(self):
        super().__init__()
        self.dim = 4
        self.stages = nn.ModuleList([nn.Linear(1, 2), nn.ReLU(inplace=True), nn.Linear(2, 4)])

    def forward(self, batch):
        x = batch.values[..., None]
        for stage in self.stages:
            x = stage(x)
        return Features(x.mean(1), x)

    def layer_stack(self):
        return LayerStack(self.stages)


@torch.no_grad()
def test_narrower_layers_have_nan_behind_them_and_no_layer_is_overwritten_by_the_next():
    encoder, given = Pyramid().eval(), batch()
    stack = encoder.layer_stack()
    _, layers = encode_with_layers(encoder, stack, given)
    pooled_BLD = pool_layers(stack, layers)
    assert pooled_BLD.shape == (4, 3, 4)
    np.testing.assert_array_equal(pooled_BLD.isnan().any(0).sum(1), [2, 2, 0])
    torch.testing.assert_close(pooled_BLD[:, 0, :2], encoder.stages[0](given.values[..., None]).mean(1))


@torch.no_grad()
def test_a_stack_that_is_not_what_runs_is_an_error(encoder):
    stack = encoder.layer_stack()
    with pytest.raises(PluginError, match=r"Block 3 of the layer_stack of Numbers ran 0 times in a pass, not once"):
        encode_with_layers(encoder, replace(stack, blocks=[*encoder.blocks, nn.Linear(1, 1)]), batch())
    with pytest.raises(PluginError, match=r"returns 6 tokens behind a prefix of 0, but the mask .* is \(4, 5\)"):
        encode_with_layers(encoder, replace(stack, prefix=0), batch())
    with pytest.raises(PluginError, match=r"returns a tensor \(4, 6\) for 4 records: .* `tokens_of`"):
        encode_with_layers(encoder, replace(stack, tokens_of=lambda made, features: (made[0][..., 0], None)), batch())


@torch.no_grad()
def test_a_batch_of_no_rows_has_layers_of_no_rows(encoder):
    stack = encoder.layer_stack()
    _, layers = encode_with_layers(encoder, stack, batch(0))
    assert pool_layers(stack, layers).shape == (0, 8, 12)


def test_an_objective_reads_the_tokens_behind_the_blocks_that_it_asks_for(encoder):
    (second,) = layer_features(encoder, batch(), [2])
    first_then = layer_features(encoder, batch(), [2, 1])
    with torch.no_grad():
        features, layers = encode_with_layers(encoder, encoder.layer_stack(), batch())
    for found, layer in zip([second, *first_then], [layers[1], layers[1], layers[0]], strict=True):
        assert torch.equal(found.tokens, layer.x)
        assert torch.equal(found.mask, features.mask)
        assert torch.equal(found.pooled, features.pooled)
        assert not found.tokens.requires_grad


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_block_that_an_encoder_does_not_have_is_named(encoder, number):
    with pytest.raises(RecipeError, match=f"block {number} of the encoder Numbers, which has blocks 1 to 2"):
        layer_features(encoder, batch(), [number])
    with pytest.raises(RecipeError, match="which has no layer_stack"):
        layer_features(nn.Identity(), batch(), [1])
