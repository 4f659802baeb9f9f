"""Weights of MAE and of plain transformers of timm in the vision transformer of ours."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from sensorium.errors import RecipeError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import MEAN, STD
from sensorium.modalities.image.encoders.vit import ViT, sine_cosine
from sensorium.modalities.image.modality import ImageModality
from sensorium.weights import load_weights

D = 48


def encoder(size=48, **options) -> ViT:
    return ViT(
        ImageModality(size=size), **{"patch": 16, "width": D, "depth": 2, "heads": 3, "pool": "cls"} | options
    ).eval()


def sine_cosine_of_mae(side: int) -> torch.Tensor:
    """Return positions as `get_2d_sincos_pos_embed` of MAE computes them: columns first; zeros for the class token."""
    place = torch.arange(side, dtype=torch.float64)
    columns, rows = place.repeat(side), place.repeat_interleave(side)
    omega = 1 / 10000 ** (torch.arange(D // 4, dtype=torch.float64) / (D / 4))
    halves = [torch.cat([(at[:, None] * omega).sin(), (at[:, None] * omega).cos()], dim=1) for at in (columns, rows)]
    return torch.cat([torch.zeros(1, D), torch.cat(halves, dim=1).float()])[None]


def plain_vit(positions: torch.Tensor | None = None, **options):
    """Return a plain transformer of timm, every weight of it random, with these positions."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_small_patch16_224", img_size=48, embed_dim=D, depth=2, num_heads=3, num_classes=0, **options
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if positions is not None:
            model.pos_embed.copy_(positions)
    return model


def stored(model, folder, **more):
    path = folder / "weights.safetensors"
    save_file({**model.state_dict(), **more}, path)
    return path


@torch.no_grad()
def test_mae_has_the_same_features_in_another_order_of_channels(tmp_path):
    model, ours = plain_vit(sine_cosine_of_mae(3)), encoder()
    decoder = {"mask_token": torch.ones(1, 1, 32), "decoder_pos_embed": torch.ones(1, 10, 32)}
    report = load_weights(ours, stored(model, tmp_path, **decoder))
    assert not report.missing
    pixels = torch.rand(2, 3, 48, 48)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    x, features = model.forward_features((pixels - mean) / std), ours(ImageBatch(pixels))
    torch.testing.assert_close(features.tokens.roll(D // 2, dims=2), x[:, 1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(features.pooled.roll(D // 2, dims=1), x[:, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_positions_in_our_order_stay(tmp_path):
    own = torch.cat([torch.zeros(1, 1, D), sine_cosine((3, 3), (3, 3), D)], dim=1)
    model, ours = plain_vit(own), encoder()
    load_weights(ours, stored(model, tmp_path))
    assert torch.equal(ours.blocks[1].attn.qkv.weight, model.blocks[1].attn.qkv.weight)


def test_learned_positions_are_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"positions of these weights are learned.* Take the encoder 'timm'"):
        load_weights(encoder(), stored(plain_vit(), tmp_path))


def test_weights_of_another_grid_or_with_a_class_token_are_refused(tmp_path):
    path = stored(plain_vit(sine_cosine_of_mae(3)), tmp_path)
    with pytest.raises(RecipeError, match=r"are of 9 patches, but the encoder 'vit' has 16. Set the size"):
        load_weights(encoder(64), path)
    with pytest.raises(RecipeError, match=r"have a class token. Set the pool of the encoder 'vit' to cls"):
        load_weights(encoder(pool="mean"), path)
    with pytest.raises(RecipeError, match="of another shape"):
        load_weights(encoder(width=24, heads=3), path)


def test_weights_of_ours_stay(tmp_path):
    source, ours = encoder(), encoder()
    load_weights(ours, stored(source, tmp_path))
    assert torch.equal(ours.blocks[0].mlp.fc1.weight, source.blocks[0].mlp.fc1.weight)
