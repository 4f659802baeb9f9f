"""Resizing and center-cropping of single images."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from sensorium.modalities.image.resize import center_crop_resize, downscale, resize

sides = st.integers(1, 40)


@settings(max_examples=30, deadline=None)
@given(sides, sides, sides, sides)
def test_center_crop_resize_gives_the_size_and_downscale_never_enlarges(height, width, out_height, out_width):
    pixels = np.full((3, height, width), 77, np.uint8)
    fitted = center_crop_resize(pixels, (out_height, out_width))
    assert fitted.shape == (3, out_height, out_width)
    assert (fitted == 77).all()
    shrunk = downscale(pixels, out_height)
    assert min(shrunk.shape[1:]) == min(out_height, height, width)


def test_a_single_column_keeps_its_color():
    for height, width in ((2, 1), (2, 3), (1, 4), (7, 6)):
        for out_height in (1, 3, 8):
            assert (resize(np.full((3, height, width), 77, np.uint8), out_height, 1) == 77).all()


def test_center_crop_resize_takes_the_center():
    pixels = np.zeros((1, 4, 12), np.uint8)
    pixels[:, :, 4:8] = 255
    assert (center_crop_resize(pixels, (4, 4)) == 255).all()


def test_resize_equals_torchvision():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 40), dtype=np.uint8)
    expected = tv.resize(torch.from_numpy(pixels), [13, 17], antialias=True).numpy()
    np.testing.assert_allclose(resize(pixels, 13, 17).astype(int), expected.astype(int), atol=1)
