"""Tensors of images as batches: sizes, ranges, axes and number types."""

import numpy as np
import pytest
import torch

from sensorium import views
from sensorium.errors import DataError
from sensorium.modalities.image.modality import ImageModality
from sensorium.registration.discovery import load_extensions


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [16, [9, 14], [40, 24], [12, 1]])
def test_a_tensor_is_brought_to_size_as_single_images_are(fit, size):
    modality, x = ImageModality(size=size, fit=fit, background="red"), pixels(4, 3, 20, 30)
    batch = modality.sized(modality.batch_of(x))
    expected = modality.collate([modality.decode(image) for image in x.numpy()])
    assert torch.equal(batch.pixels, expected.pixels)
    of_floats = modality.sized(modality.batch_of(x / 255))
    assert of_floats.pixels.dtype == torch.float32
    assert (of_floats.pixels - expected.unit_pixels()).abs().max() < 2 / 255


def test_a_tensor_of_size_is_taken_as_it_is():
    x = pixels(2, 3, 16, 16)
    assert ImageModality(size=16).batch_of(x).pixels.data_ptr() == x.data_ptr()
    assert ImageModality(size=16, fit="pad").batch_of(pixels(0, 3, 20, 20)).pixels.shape == (0, 3, 16, 16)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_canvas_bounds_a_tensor_as_single_images(fit):
    modality, x = ImageModality(size=16, canvas=24, fit=fit), pixels(2, 3, 40, 50)
    expected = [modality.decode(image) for image in x.numpy()]
    assert torch.equal(modality.batch_of(x).pixels, torch.from_numpy(np.stack(expected)))


@pytest.mark.parametrize("name", load_extensions().registry.names("views", "image"))
def test_views_of_a_tensor_have_the_size_that_those_of_single_images_have(name):
    transform = views.image[name](size=32)
    made, expected = (transform(x) for x in (pixels(2, 3, 40, 50), pixels(3, 40, 50)))
    assert [view.shape[2:] for view in made] == [view.shape[1:] for view in expected]


@pytest.mark.parametrize(
    "x", [pixels(2, 3, 8, 8).float(), torch.randn(2, 3, 8, 8) * 2, torch.full((1, 3, 8, 8), np.nan)]
)
def test_floats_of_another_range_say_what_to_do(x):
    with pytest.raises(DataError, match=r"lie in 0 to 1, but this tensor ranges from .*divide values of bytes by 255"):
        ImageModality(size=8).batch_of(x)


def test_a_range_scales_every_number_type():
    x = torch.tensor([0, 1000, 4095, 5000]).reshape(1, 1, 2, 2)
    modality = ImageModality(size=2, channels=1, range=[0, 4095])
    for dtype in (torch.int64, torch.int32, torch.int16, torch.float64, torch.float32):
        made = modality.batch_of(x.to(dtype)).pixels
        torch.testing.assert_close(made.flatten(), torch.tensor([0, 1000 / 4095, 1, 1]))
    of_bytes = pixels(2, 1, 2, 2)
    assert torch.equal(modality.batch_of(of_bytes).pixels, of_bytes), "8-bit images keep their own range"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 20, 20, 3), r"\(B, 3, H, W\), or \(3, H, W\) of one image, not \(4, 20, 20, 3\): .*permute\(0, 3, 1, 2\)"),
        ((4, 1, 20, 20), r"not \(4, 1, 20, 20\): set the modality's channels to 1, or convert"),
        ((8, 24, 24), r"not \(8, 24, 24\): if it is a batch of grayscale images, .*x\.unsqueeze\(1\)"),
        ((2, 4, 3, 24, 24), r"not \(2, 4, 3, 24, 24\): join its leading axes"),
        ((2, 3, 0, 24), r"it has no pixels"),
    ],
)
def test_other_axes_are_named_with_those_expected(shape, message):
    with pytest.raises(DataError, match=message):
        ImageModality(size=8).batch_of(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_become_float32_without_a_gradient(dtype):
    made = ImageModality(size=8).batch_of(torch.rand(2, 3, 8, 8).to(dtype).requires_grad_())
    assert made.pixels.dtype == torch.float32
    assert not made.pixels.requires_grad


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_number_types_without_a_range_are_named(dtype):
    with pytest.raises(DataError, match=r"uint8, or float in 0 to 1, not (int64|bool): convert"):
        ImageModality(size=8).batch_of(torch.ones(2, 3, 8, 8).to(dtype))
