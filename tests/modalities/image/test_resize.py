"""Bringing single images to one size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.transforms.v2 import functional as tv

from sensorium.modalities.image.resize import downscale, fit_to, resize, whole_canvas

sides = st.integers(1, 40)
BLACK = np.zeros(3, np.uint8)


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides, st.sampled_from(["crop", "pad", "stretch"]))
def test_every_fit_gives_the_size_and_downscale_never_enlarges(height, width, out_height, out_width, fit):
    pixels = np.full((3, height, width), 77, np.uint8)
    fitted = fit_to(pixels, (out_height, out_width), fit, BLACK)
    assert fitted.shape == (3, out_height, out_width)
    assert set(np.unique(fitted)) <= ({77, 0} if fit == "pad" else {77})
    assert (fitted == 77).any()
    shrunk = downscale(pixels, out_height)
    assert min(shrunk.shape[1:]) == min(out_height, height, width)


def test_a_single_column_keeps_its_color():
    for height, width in ((2, 1), (2, 3), (1, 4), (7, 6)):
        for out_height in (1, 3, 8):
            assert (resize(np.full((3, height, width), 77, np.uint8), out_height, 1) == 77).all()


def test_crop_takes_the_center_and_the_others_take_all():
    pixels = np.zeros((3, 4, 12), np.uint8)
    pixels[:, :, 4:8] = 255
    assert (fit_to(pixels, (4, 4), "crop", BLACK) == 255).all()
    stretched = fit_to(pixels, (4, 6), "stretch", BLACK)
    assert (stretched[:, :, 2:4] > 200).all()
    assert (stretched[:, :, [0, 5]] < 50).all()


def test_pad_lays_borders_of_the_color_on_two_sides():
    color = np.array([1, 2, 3], np.uint8)
    wide = fit_to(np.full((3, 4, 12), 77, np.uint8), (12, 12), "pad", color)
    assert (wide[:, 4:8] == 77).all()
    for border in (wide[:, :4], wide[:, 8:]):
        assert (border == color[:, None, None]).all()
    tall = fit_to(np.full((3, 12, 4), 77, np.uint8), (6, 6), "pad", color)
    assert (tall[:, :, 2:4] == 77).all()
    assert (tall[:, :, :2] == color[:, None, None]).all()


@pytest.mark.parametrize(
    ("shape", "size", "shorter", "expected"),
    [((50, 100), (8, 8), 40, (40, 40)), ((50, 100), (8, 8), 400, (100, 100)), ((50, 100), (8, 16), 20, (20, 40))],
)
def test_a_canvas_around_a_whole_image_has_the_aspect_ratio_of_the_size(shape, size, shorter, expected):
    assert whole_canvas(shape, size, shorter) == expected


def test_resize_equals_torchvision():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 40), dtype=np.uint8)
    expected = tv.resize(torch.from_numpy(pixels), [13, 17], antialias=True).numpy()
    np.testing.assert_allclose(resize(pixels, 13, 17).astype(int), expected.astype(int), atol=1)
