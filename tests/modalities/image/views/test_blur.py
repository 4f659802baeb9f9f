"""Gaussian blur against torchvision's, image by image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from sensorium.modalities.image.views.blur import gaussian_blur


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_row_equals_torchvision(channels):
    pixels = torch.rand(4, channels, 31, 20)
    sigmas = torch.tensor([0.1, 0.5, 1.3, 2.0])
    ours = gaussian_blur(sigmas, (31, 20), max_sigma=2.0)(pixels)
    for row, sigma in enumerate(sigmas.tolist()):
        expected = tv.gaussian_blur(pixels[row], kernel_size=[13, 13], sigma=sigma)
        torch.testing.assert_close(ours[row], expected, atol=2e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.1, 3))
def test_any_size_is_blurred_and_constant_images_stay(height, width, sigma):
    flat = torch.full((2, 3, height, width), 0.6)
    blurred = gaussian_blur(torch.tensor([sigma, 0.1]), (height, width), max_sigma=3.0)(flat)
    torch.testing.assert_close(blurred, flat)


def test_the_input_stays():
    pixels = torch.rand(2, 3, 9, 9)
    kept = pixels.clone()
    gaussian_blur(torch.tensor([1.0, 2.0]), (9, 9), 2.0)(pixels)
    assert torch.equal(pixels, kept)
