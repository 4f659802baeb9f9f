"""Separable resampling: weighted sums of rows."""

import pytest
import torch

from sensorium.modalities.image.views.resampling import RowFilter


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_weighted_sums(dtype):
    pixels = torch.rand(2, 3, 5, 4, dtype=dtype)
    taps, weights = torch.randint(5, (2, 7, 3)), torch.rand(2, 7, 3)
    mixed = RowFilter(taps, weights)(pixels)
    assert mixed.dtype == dtype
    for b in range(2):
        expected = (pixels[b][:, taps[b]] * weights[b, None, :, :, None]).sum(2)
        torch.testing.assert_close(mixed[b], expected.to(dtype))


def test_a_part_of_the_batch_and_a_window_of_the_rows():
    pixels, taps, weights = torch.rand(3, 2, 6, 4), torch.randint(2, 5, (3, 7, 2)), torch.rand(3, 7, 2)
    whole = RowFilter(taps, weights)(pixels)
    some = RowFilter(taps, weights).select(slice(1, 3))
    torch.testing.assert_close(some(pixels[1:]), whole[1:])
    torch.testing.assert_close(RowFilter(taps, weights)(pixels[:, :, 2:5], first=2), whole)


def test_columns_are_the_rows_of_the_transposed_image():
    pixels = torch.rand(1, 1, 4, 6)
    last = RowFilter(torch.full((1, 5, 1), 5), torch.ones(1, 5, 1))
    torch.testing.assert_close(last(pixels.mT).mT, pixels[..., 5:].expand(1, 1, 4, 5))
