"""Color jitter, grayscale and solarization against torchvision: the distribution of factors and the pixels."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sensorium.modalities.image.views.color import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    LUMA,
    SATURATION,
    UNCHANGED,
    compose,
    draw_color_jitter,
    grayscale_,
    jitter_colors_,
    shift_hue_,
    solarize_,
)

THEIRS = {
    BRIGHTNESS: tv.adjust_brightness,
    CONTRAST: tv.adjust_contrast,
    SATURATION: tv.adjust_saturation,
    HUE: tv.adjust_hue,
}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, channels: int = 3, side: int = 9, seed: int = 0) -> torch.Tensor:
    """Noise, with a row each of black, white, gray and full colors, where formulas divide by nothing."""
    pixels = torch.rand(n, channels, side, side, generator=rng(seed))
    pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2] = 0, 1, 0.5
    pixels[:, 0, 3], pixels[:, 1:, 3] = 1, 0
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_every_order_equals_torchvision(channels):
    orders = torch.tensor(list(itertools.permutations(range(4))))
    n = len(orders)
    factors = torch.rand(n, 4, generator=rng(1)) * 1.6 + 0.2
    factors[:, HUE] = torch.rand(n, generator=rng(2)) - 0.5
    pixels = images(n, channels)
    ours = jitter_colors_(pixels.clone(), compose(orders, factors, channels))
    for row in range(n):
        expected = pixels[row]
        for name in orders[row].tolist():
            expected = THEIRS[name](expected, factors[row, name].item())
        torch.testing.assert_close(ours[row], expected, atol=2e-5, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.5, 0.5, width=32), st.integers(0, 999))
def test_hue_equals_torchvision(turn, seed):
    pixels = images(2, seed=seed)
    torch.testing.assert_close(
        shift_hue_(pixels.clone(), torch.full((2,), turn)), tv.adjust_hue(pixels, turn), atol=2e-5, rtol=0
    )


def test_shifted_hues_stay_in_range():
    turned = shift_hue_(torch.rand(64, 3, 32, 32, generator=rng()), torch.rand(64, generator=rng()) - 0.5)
    assert turned.min() >= 0
    assert turned.max() <= 1


def test_other_channel_counts_change_in_luminance_alone():
    pixels = images(4, channels=5)
    order = torch.arange(4).expand(4, 4)
    inert = torch.tensor([1.0, 1.0, 0.3, 0.4]).expand(4, 4)
    torch.testing.assert_close(jitter_colors_(pixels.clone(), compose(order, inert, channels=5)), pixels)
    assert torch.equal(grayscale_(pixels.clone(), torch.arange(4)), pixels)
    darker = jitter_colors_(pixels.clone(), compose(order, torch.tensor([0.5, 1.0, 1.0, 0.0]).expand(4, 4), channels=5))
    torch.testing.assert_close(darker, pixels * 0.5)
    flat = jitter_colors_(pixels.clone(), compose(order, torch.tensor([1.0, 0.0, 1.0, 0.0]).expand(4, 4), channels=5))
    torch.testing.assert_close(flat, pixels.mean((1, 2, 3), keepdim=True).expand_as(pixels))


def test_identity_factors_change_no_bit():
    pixels = images(4)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0]).expand(4, 4)
    assert torch.equal(jitter_colors_(pixels.clone(), compose(torch.arange(4).expand(4, 4), neutral)), pixels)
    unchanged = draw_color_jitter(4, (0.8, 0.8, 0.8, 0.2), 0.0, 3, rng())
    assert torch.equal(jitter_colors_(pixels.clone(), unchanged), pixels)


def test_factors_have_torchvisions_distribution():
    ranges = (0.8, 0.4, 1.2, 0.2)
    torch.manual_seed(0)
    reference = v2.ColorJitter(*ranges)
    theirs = [reference.make_params([]) for _ in range(2000)]
    n = 6000
    drawn = draw_color_jitter(n, ranges, 1.0, 3, rng())
    hue = drawn.hues.numpy()
    # Of the three maps of an image one has a mean term, one mixes channels, and one is a scalar factor.
    contrast = 1 - drawn.means.sum(1).numpy()
    saturation = 1 - drawn.maps[..., 0, 1].sum(1).numpy() / LUMA[1]
    brightness = drawn.maps[..., 0, 0].sub(drawn.maps[..., 1, 0]).prod(1).numpy() / (contrast * saturation)
    for name, ours in {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}.items():
        expected = np.array([p[f"{name}_factor"] for p in theirs])
        assert ks_2samp(ours, expected).pvalue > 1e-3, name
    first = np.bincount(drawn.hue_step.numpy(), minlength=4) / n
    np.testing.assert_allclose(first, 0.25, atol=0.03)


def test_jitter_has_its_probability():
    drawn = draw_color_jitter(5000, (0.8, 0.8, 0.8, 0.2), 0.3, 3, rng())
    assert abs((drawn.hue_step != UNCHANGED).float().mean() - 0.3) < 0.03


def test_the_order_of_rows_changes_nothing():
    pixels, drawn = images(24), draw_color_jitter(24, (0.8, 0.8, 0.8, 0.2), 0.7, 3, rng())
    order = drawn.hue_step.argsort(stable=True)
    ordered = jitter_colors_(pixels[order], drawn[order])
    torch.testing.assert_close(jitter_colors_(pixels.clone(), drawn)[order], ordered, atol=1e-6, rtol=0)


def test_gray_and_solarize_change_the_named_rows_alone():
    pixels = images(4)
    rows = torch.tensor([1, 3])
    gray = grayscale_(pixels.clone(), rows)
    torch.testing.assert_close(gray[rows], tv.rgb_to_grayscale(pixels[rows], num_output_channels=3))
    assert torch.equal(gray[[0, 2]], pixels[[0, 2]])
    solar = solarize_(pixels.clone(), rows)
    torch.testing.assert_close(solar[rows], tv.solarize(pixels[rows], 0.5))
    assert torch.equal(solar[[0, 2]], pixels[[0, 2]])
