"""Color jitter, grayscale and solarization against torchvision: the distribution of factors and the pixels."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sensorium.modalities.image.views.color import (
    BRIGHTNESS,
    CONTRAST,
    HUE,
    NEUTRAL,
    SATURATION,
    compose,
    draw_factors,
    grayscale,
    hue_offsets,
    jitter_colors,
    shift_hue_,
    similar_blends,
    solarize,
    used_slots,
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
    ours = jitter_colors(pixels.clone(), *compose(orders, factors, channels))
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
        shift_hue_(pixels.clone(), hue_offsets(torch.full((2,), turn))), tv.adjust_hue(pixels, turn), atol=2e-5, rtol=0
    )


def test_shifted_hues_stay_in_range():
    turns = torch.rand(64, generator=rng()) - 0.5
    turned = shift_hue_(torch.rand(64, 3, 32, 32, generator=rng()), hue_offsets(turns))
    assert turned.min() >= 0
    assert turned.max() <= 1


def test_other_channel_counts_change_in_luminance_alone():
    pixels, order = images(4, channels=5), torch.arange(4).expand(4, 4)

    def jittered(*factors):
        return jitter_colors(pixels.clone(), *compose(order, torch.tensor(factors).expand(4, 4), channels=5))

    torch.testing.assert_close(jittered(1.0, 1.0, 0.3, 0.4), pixels)
    assert torch.equal(grayscale(pixels.clone(), torch.ones(4, dtype=torch.bool)), pixels)
    torch.testing.assert_close(jittered(0.5, 1.0, 1.0, 0.0), pixels * 0.5)
    flat = pixels.mean((1, 2, 3), keepdim=True).expand_as(pixels)
    torch.testing.assert_close(jittered(1.0, 0.0, 1.0, 0.0), flat)


def test_identity_factors_change_no_bit():
    pixels = images(4)
    neutral = torch.tensor(NEUTRAL).expand(4, 4)
    assert torch.equal(jitter_colors(pixels.clone(), *compose(torch.arange(4).expand(4, 4), neutral)), pixels)
    unchanged = compose(*draw_factors(4, (0.8, 0.8, 0.8, 0.2), 0.0, rng()))
    assert torch.equal(jitter_colors(pixels.clone(), *unchanged), pixels)
    everything = torch.compile(jitter_colors, fullgraph=True, backend="eager")  # as an accelerator computes it
    assert torch.equal(everything(pixels.clone(), *unchanged), pixels)


def test_factors_have_torchvisions_distribution():
    ranges = (0.8, 0.4, 1.2, 0.2)
    torch.manual_seed(0)
    reference = v2.ColorJitter(*ranges)
    theirs = [reference.make_params([]) for _ in range(2000)]
    order, factors = draw_factors(6000, ranges, 1.0, rng())
    for i, name in enumerate(("brightness", "contrast", "saturation", "hue")):
        expected = np.array([p[f"{name}_factor"] for p in theirs])
        assert ks_2samp(factors[:, i].numpy(), expected).pvalue > 1e-3, name
    found = np.unique(order.numpy(), axis=0, return_counts=True)[1] / len(order)
    np.testing.assert_allclose(found, np.full(24, 1 / 24), atol=0.01)


def test_jitter_has_its_probability():
    _, factors = draw_factors(5000, (0.8, 0.8, 0.8, 0.2), 0.3, rng())
    changed = (factors != torch.tensor(NEUTRAL)).all(1)
    assert torch.equal(changed, (factors != torch.tensor(NEUTRAL)).any(1))
    assert abs(changed.float().mean() - 0.3) < 0.03


def test_a_row_does_not_depend_on_the_others():
    pixels = images(24)
    blends, hues = compose(*draw_factors(24, (0.8, 0.8, 0.8, 0.2), 0.7, rng()))
    whole = jitter_colors(pixels.clone(), blends, hues)
    for row in range(24):
        alone = slice(row, row + 1)
        torch.testing.assert_close(jitter_colors(pixels[alone].clone(), blends[alone], hues[alone]), whole[alone])


def test_images_with_similar_blends_need_few_terms():
    blends, _ = compose(*draw_factors(512, (0.8, 0.8, 0.8, 0.2), 0.8, rng()))

    def used(parts):
        return sum((rows.stop - rows.start) * sum(terms) for part in parts for rows, terms in used_slots(part))

    ordered = blends[similar_blends(blends)].split(16)
    assert used(ordered) < 0.6 * used(blends.split(16))
    assert torch.equal(similar_blends(blends).sort().values, torch.arange(512))


def test_gray_and_solarize_change_the_named_rows_alone():
    pixels = images(4)
    rows = torch.tensor([1, 3])
    chosen = torch.zeros(4, dtype=torch.bool)
    chosen[rows] = True
    gray = grayscale(pixels.clone(), chosen)
    torch.testing.assert_close(gray[rows], tv.rgb_to_grayscale(pixels[rows], num_output_channels=3))
    assert torch.equal(gray[[0, 2]], pixels[[0, 2]])
    solar = solarize(pixels.clone(), chosen)
    torch.testing.assert_close(solar[rows], tv.solarize(pixels[rows], 0.5))
    assert torch.equal(solar[[0, 2]], pixels[[0, 2]])
