"""Gaussian blur against torchvision's, image by image."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms.v2 import functional as tv

from sensorium.modalities.image.views.blur import gaussian_blur


def blurred(pixels, sigmas, max_sigma):
    """Blur images whole: rows, then columns."""
    rows, columns = gaussian_blur(torch.as_tensor(sigmas), tuple(pixels.shape[2:]), max_sigma)
    return columns(rows(pixels).mT).mT


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_row_equals_torchvision(channels):
    pixels = torch.rand(4, channels, 31, 20)
    sigmas = torch.tensor([0.1, 0.5, 1.3, 2.0])
    ours = blurred(pixels, sigmas, 2.0)
    for row, sigma in enumerate(sigmas.tolist()):
        expected = tv.gaussian_blur(pixels[row], kernel_size=[13, 13], sigma=sigma)
        torch.testing.assert_close(ours[row], expected, atol=2e-6, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.1, 3))
def test_any_size_is_blurred_and_constant_images_stay(height, width, sigma):
    flat = torch.full((2, 3, height, width), 0.6)
    torch.testing.assert_close(blurred(flat, [sigma, 0.1], 3.0), flat)


def test_the_input_stays():
    pixels = torch.rand(2, 3, 9, 9)
    kept = pixels.clone()
    blurred(pixels, [1.0, 2.0], 2.0)
    assert torch.equal(pixels, kept)


def test_no_weight_is_denormal():
    """Products with denormal weights are fifteen times as slow on a CPU."""
    sigmas = torch.linspace(0.1, 2, 400)
    tiny = torch.finfo(torch.float32).tiny
    weights = gaussian_blur(sigmas, (8, 8), 2.0).rows.weights[:, 0]
    assert ((weights == 0) | (weights > 1e10 * tiny)).all()
    offsets = torch.arange(-6, 7)
    plain = (-0.5 * (offsets / sigmas[:, None]) ** 2).softmax(dim=1)
    assert ((plain > 0) & (plain < tiny)).any()  # the negative control
    torch.testing.assert_close(weights, plain, atol=1e-20, rtol=0)
