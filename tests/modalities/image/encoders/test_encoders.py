"""Properties of every encoder of the image modality."""

import pytest
import torch

from sensorium import SensoriumError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.cnn import CNN
from sensorium.modalities.image.encoders.normalize import MEAN, STD, Normalize
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality

TINY = {"width": 16, "depth": 2, "heads": 2}
MAKERS = {
    "cnn": lambda m: CNN(m, width=4, depth=3),
    "vit-mean": lambda m: ViT(m, **TINY),
    "vit-cls": lambda m: ViT(m, pool="cls", **TINY),
    "timm-resnet": lambda m: Timm(m, "resnet10t"),
    "timm-vit": lambda m: Timm(m, "test_vit"),
    "timm-mobilenet": lambda m: Timm(m, "mobilenetv3_small_050"),
}


def batch(n: int = 3, side: int = 32, channels: int = 3) -> ImageBatch:
    generator = torch.Generator().manual_seed(0)
    return ImageBatch(torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8, generator=generator))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_features_have_the_declared_width_and_gradients_flow(name, channels):
    encoder = MAKERS[name](ImageModality(size=32, channels=channels))
    features = encoder.train()(batch(channels=channels))
    assert features.pooled.shape == (3, encoder.dim)
    assert features.tokens is None or features.tokens.shape[::2] == (3, encoder.dim)
    features.pooled.square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_eval_is_deterministic_per_row_and_restored_from_its_state_dict(name):
    encoder, other = (MAKERS[name](ImageModality(size=32)) for _ in range(2))
    other.load_state_dict(encoder.state_dict())
    encoder.eval(), other.eval()
    whole = encoder(batch()).pooled
    torch.testing.assert_close(other(batch()).pooled, whole)
    alone = encoder(batch().select(torch.tensor([1]))).pooled
    torch.testing.assert_close(alone[0], whole[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_uint8_and_float_pixels_give_the_same_features(name):
    encoder = MAKERS[name](ImageModality(size=32)).eval()
    as_float = ImageBatch(batch().unit_pixels())
    torch.testing.assert_close(encoder(as_float).pooled, encoder(batch()).pooled)


def test_pixels_are_normalized_by_channel():
    normalize = Normalize(3, MEAN, STD)
    mean = torch.tensor(MEAN)[None, :, None, None].expand(2, 3, 4, 4)
    std = torch.tensor(STD)[None, :, None, None]
    torch.testing.assert_close(normalize(ImageBatch(mean)), torch.zeros(2, 3, 4, 4))
    torch.testing.assert_close(normalize(ImageBatch(mean + std)), torch.ones(2, 3, 4, 4))
    assert Normalize(5, MEAN, STD).mean.shape == (5, 1, 1)
    assert not normalize.state_dict()
    with pytest.raises(SensoriumError, match="'mean' has 2 values"):
        Normalize(3, (0.5, 0.5), STD)


def test_half_precision_follows_the_module_and_pooling_is_in_fp32():
    features = CNN(ImageModality(size=32), width=4, depth=2).bfloat16()(batch())
    assert features.tokens.dtype == torch.bfloat16
    assert features.pooled.dtype == torch.float32
    torch.testing.assert_close(features.pooled, features.tokens.float().mean(1))
