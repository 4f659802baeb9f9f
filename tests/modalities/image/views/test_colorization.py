"""Colorization: grayscale views, and the colors as targets."""

import pytest
import torch

from sensorium import SensoriumError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.colorization import ColorizationViews
from sensorium.modalities.image.views.lab import color_bins, to_lab


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def whole(**options):
    """A generator that neither crops nor flips."""
    return ColorizationViews(ImageModality(size=16), scale=(1.0, 1.0), flip=0.0, **options)


def quarters():
    """Images of four uniform quarters: red, green, blue and gray."""
    x = torch.zeros(2, 3, 16, 16)
    x[:, 0, :8, :8] = x[:, 1, :8, 8:] = x[:, 2, 8:, :8] = 1
    x[:, :, 8:, 8:] = 0.5
    return ImageBatch(x)


def test_each_patchs_target_is_the_bin_of_its_color_row_by_row():
    (view,) = whole(patch=8)(quarters(), rng())
    assert view.target.shape == (2, 4)
    assert view.target.dtype == torch.int64
    bins = color_bins()[view.target[0]]
    expected = torch.tensor([[80.0, 70], [-90, 80], [80, -110], [0, 0]])
    assert torch.equal(bins, expected)
    across = color_bins()[view.target[0].view(2, 2).T.flatten()]  # the mutant: column by column
    assert not torch.equal(across, expected)


def test_the_view_is_lightness_alone():
    batch = quarters()
    (view,) = whole(patch=8)(batch, rng())
    x = view.batch.pixels
    assert torch.equal(x[:, 0], x[:, 1])
    assert torch.equal(x[:, 0], x[:, 2])
    assert torch.allclose(x[:, 0], to_lab(batch.pixels)[:, 0] / 100)
    swapped = ImageBatch(batch.pixels.clone())
    swapped.pixels[:, :, :8, :8] = to_gray(swapped.pixels[:, :, :8, :8])
    (same,) = whole(patch=8)(swapped, rng())
    assert torch.allclose(same.batch.pixels, x, atol=2e-3)  # another color of the same lightness: the same view
    assert not torch.equal(same.target, view.target)  # and another target


def to_gray(x):
    """The gray of the same lightness."""
    light = to_lab(x)[:, :1]
    linear = ((light + 16) / 116) ** 3
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).expand_as(x)


def test_declared_target_and_classes():
    generator = whole()
    assert generator.target == "color"
    assert generator.per_token
    assert generator.classes == 261
    (view,) = generator(ImageBatch(torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=rng())), rng())
    assert view.target.shape == (3, 64)
    assert 0 <= view.target.min() <= view.target.max() < 261


def test_grayscale_images_are_refused():
    with pytest.raises(SensoriumError, match="color images, not 1 channels"):
        ColorizationViews(ImageModality(size=16, channels=1))
