"""Separable resampling: weighted sums of rows and columns."""

import pytest
import torch

from sensorium.modalities.image.views.resampling import Resampling, resample_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_weighted_sums(dtype):
    pixels = torch.rand(2, 3, 5, 4, dtype=dtype)
    rows, weights = torch.randint(5, (2, 7, 3)), torch.rand(2, 7, 3)
    mixed = resample_rows(pixels, rows, weights)
    assert mixed.dtype == dtype
    for b in range(2):
        expected = (pixels[b][:, rows[b]] * weights[b, None, :, :, None]).sum(2)
        torch.testing.assert_close(mixed[b], expected.to(dtype))


def test_rows_then_columns_and_a_part_of_the_batch():
    pixels = torch.rand(3, 1, 4, 6)
    top, last = torch.zeros(3, 2, 1, dtype=torch.long), torch.full((3, 5, 1), 5)
    mix = Resampling(top, torch.ones(3, 2, 1), last, torch.tensor([1.0, 2.0, 3.0])[:, None, None].expand(3, 5, 1))
    expected = pixels[:, :, :1, 5:].expand(3, 1, 2, 5) * torch.tensor([1.0, 2.0, 3.0])[:, None, None, None]
    torch.testing.assert_close(mix(pixels), expected)
    torch.testing.assert_close(mix[1:](pixels[1:]), expected[1:])
