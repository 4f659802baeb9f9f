"""The tokens of the vision transformer."""

import pytest
import torch

from sensorium import SensoriumError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.vit import ViT, sine_cosine
from sensorium.modalities.image.modality import ImageModality
from sensorium.testing.emulation import Emulation, emulated_device
from sensorium.types import Features
from tests.modalities import pretrained_case

TINY = {"width": 16, "depth": 2, "heads": 2}


def batch(n: int = 3, height: int = 32, width: int = 32) -> ImageBatch:
    return ImageBatch(torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(params=["mean", "cls"])
def encoder(request) -> ViT:
    torch.manual_seed(0)
    return ViT(ImageModality(size=32), patch=8, pool=request.param, **TINY).eval()


@pytest.fixture(params=["mean", "cls"])
def oblong(request) -> ViT:
    torch.manual_seed(0)
    return ViT(ImageModality(size=[32, 48]), patch=8, pool=request.param, **TINY)


def test_it_is_a_token_encoder_as_those_of_libraries_are(oblong):
    images = batch(3, 32, 48)

    def masked_pass(tokens, kept_BT):
        x_BTD = tokens.x + tokens.positions
        if oblong.cls is not None:
            x_BTD = torch.cat([oblong.cls.expand(3, -1, -1), x_BTD], dim=1)
        prefix = x_BTD.shape[1] - kept_BT.shape[1]
        seen_BN = torch.nn.functional.pad(kept_BT, (prefix, 0), value=True)
        for block in oblong.blocks:
            x_BTD = block(x_BTD, attn_mask=seen_BN[:, None, None])
        x_BTD = oblong.norm(x_BTD)
        patches_BTD, weight_BT1 = x_BTD[:, prefix:], kept_BT[..., None].float()
        mean_BD = (patches_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)
        return Features(x_BTD[:, 0] if prefix else mean_BD, patches_BTD)

    pretrained_case.check_shapes(oblong, images)
    pretrained_case.check_kept_tokens(oblong, images, masked_pass=masked_pass)
    pretrained_case.check_noise_in_dropped_tokens(oblong, images)
    pretrained_case.check_hidden_places(oblong, images)
    pretrained_case.check_two_passes_equal(oblong, images)
    pretrained_case.check_no_rows(oblong, images)


@torch.no_grad()
def test_forward_encodes_all_tokens(encoder):
    tokens = encoder.tokenize(batch())
    assert tokens.x.shape == (3, 16, encoder.dim)
    assert tokens.positions.shape == (1, 16, encoder.dim)
    assert tokens.mask is None
    torch.testing.assert_close(encoder.encode_tokens(tokens).pooled, encoder(batch()).pooled)


@torch.no_grad()
def test_kept_tokens_keep_their_positions(encoder):
    tokens = encoder.tokenize(batch())
    whole = encoder.encode_tokens(tokens)
    order = torch.stack([torch.randperm(16) for _ in range(3)])
    turned = encoder.encode_tokens(tokens, order)
    torch.testing.assert_close(turned.pooled, whole.pooled, atol=1e-5, rtol=1e-4)
    rows = torch.arange(3)[:, None]
    torch.testing.assert_close(turned.tokens, whole.tokens[rows, order], atol=1e-5, rtol=1e-4)
    part = encoder.encode_tokens(tokens, order[:, :5])
    assert part.tokens.shape == (3, 5, encoder.dim)


@torch.no_grad()
def test_masked_tokens_have_no_influence(encoder):
    keep = torch.arange(8).expand(3, 8)
    changed = ImageBatch(batch().pixels.clone())
    changed.pixels[:, :, 16:] = 0  # the lower half: patches 8 to 15
    one, other = (encoder.encode_tokens(encoder.tokenize(b), keep).pooled for b in (batch(), changed))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("size", [32, [32, 16]])
def test_targets_are_the_pixels_of_the_tokens(size):
    modality = ImageModality(size=size)
    raw = ViT(modality, patch=8, normalize_targets=False, **TINY)
    images = batch(2, *modality.size)
    targets = raw.token_targets(images)
    assert targets.shape == (2, raw.grid[0] * raw.grid[1], raw.target_dim)
    across = raw.grid[1]
    patch = raw.normalize(images)[:, :, 8:16, 8:16]
    torch.testing.assert_close(targets[:, across + 1], patch.flatten(1))
    even = ViT(modality, patch=8, **TINY).token_targets(images)
    torch.testing.assert_close(even.mean(-1), torch.zeros(even.shape[:2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(even.var(-1), torch.ones(even.shape[:2]), atol=1e-3, rtol=0)


def test_token_order_is_that_of_the_targets():
    encoder = ViT(ImageModality(size=32), patch=8, **TINY)
    lit = torch.zeros(1, 3, 32, 32)
    lit[:, :, 8:16, 24:32] = 1  # second row, last column
    tokens = encoder.tokenize(ImageBatch(lit)).x[0]
    odd = (tokens - tokens[0]).abs().sum(1) > 1e-4
    assert odd.nonzero().flatten().tolist() == [7]


def test_positions_of_local_crops_cover_the_same_area(encoder):
    features = encoder(batch(2, 16, 16))
    assert features.tokens.shape == (2, 4, encoder.dim)
    coarse, fine = sine_cosine((2, 2), (4, 4), 16), sine_cosine((4, 4), (4, 4), 16)
    assert coarse.shape == (1, 4, 16)
    torch.testing.assert_close(sine_cosine((1, 1), (1, 1), 16), fine[:, :1])
    assert len(fine[0].unique(dim=0)) == 16
    with pytest.raises(SensoriumError, match="tile"):
        encoder(batch(2, 20, 20))


def test_positions_of_local_crops_are_copied_to_a_device_once():
    encoder = ViT(ImageModality(size=32), patch=8, **TINY)
    with Emulation() as emulation:
        encoder.to(emulated_device())
        crops = batch(2, 16, 8).pin_memory().to(emulated_device(), non_blocking=True)
        encoder(crops)
        emulation.synchronizations.clear()
        encoder(crops)
        assert not emulation.synchronizations


def test_presets_and_widths():
    assert ViT(ImageModality(size=32), preset="tiny", depth=1).dim == 192
    assert ViT(ImageModality(size=32), preset="small", depth=1).dim == 384
    assert ViT(ImageModality(size=64), **TINY).patch == 8
    with pytest.raises(SensoriumError, match="heads"):
        ViT(ImageModality(size=32), width=20, heads=3, depth=1)
    with pytest.raises(SensoriumError, match="tile"):
        ViT(ImageModality(size=32), patch=7, **TINY)


@torch.no_grad()
def test_causal_attention_sees_no_later_patch():
    torch.manual_seed(0)
    made = ViT(ImageModality(size=32), patch=8, causal=True, **TINY).eval()
    changed = ImageBatch(batch().pixels.clone())
    changed.pixels[:, :, 8:16, 8:16] = 0  # patch 5
    one, other = made(batch()).tokens, made(changed).tokens
    torch.testing.assert_close(one[:, :5], other[:, :5])
    assert not any(torch.allclose(one[:, t], other[:, t], atol=1e-5) for t in range(5, 16))
    keep = torch.tensor([[6, 2, 5]]).expand(3, -1)  # order is that of positions
    one, other = (made.encode_tokens(made.tokenize(b), keep).tokens for b in (batch(), changed))
    torch.testing.assert_close(one[:, 1], other[:, 1])
    assert not any(torch.allclose(one[:, t], other[:, t], atol=1e-5) for t in (0, 2))
    everywhere = ViT(ImageModality(size=32), patch=8, **TINY).eval()  # the negative control
    assert not torch.allclose(everywhere(batch()).tokens[:, :5], everywhere(changed).tokens[:, :5], atol=1e-5)
    with pytest.raises(SensoriumError, match="set pool to mean"):
        ViT(ImageModality(size=32), patch=8, causal=True, pool="cls", **TINY)
