"""CIE L*a*b* against published values, and the bins of its (a*, b*) plane."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.image.views.lab import color_bins, from_lab, nearest_bin, to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),  # Lindbloom, CIE color calculator, sRGB and D65
    [
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
    ],
)
def test_colors_are_the_published_ones(rgb, lab):
    found = to_lab(torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)).flatten()
    assert torch.allclose(found, torch.tensor(lab, dtype=torch.float64), atol=0.02)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_round_trip(seed):
    x = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert torch.allclose(from_lab(to_lab(x)), x, atol=1e-9)


def test_grays_have_no_color_and_light_grows_with_them():
    gray = torch.linspace(0, 1, 50).expand(1, 3, 1, 50)
    light, a, b = to_lab(gray)[0, :, 0]
    assert (light.diff() > 0).all()
    assert max(a.abs().max(), b.abs().max()) < 0.02


def test_bins_cover_the_gamut_of_srgb():
    bins = color_bins()
    assert len(bins) == 261
    assert len(bins.unique(dim=0)) == 261
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ab = to_lab(x)[:, 1:]
    center = bins[nearest_bin(ab)].movedim(-1, 1)
    assert (center - ab).abs().max() <= 5.01  # half a bin: each color lies in the bin that it is given
    assert torch.equal(bins[nearest_bin(torch.zeros(1, 2, 1, 1))].flatten(), torch.zeros(2))
