"""In-place updates of some rows of a batch."""

import pytest
import torch

from sensorium.modalities.image.views.row_updates import update_rows_


@pytest.mark.parametrize("rows", [[], [2], [0, 3], [0, 1, 2, 3]])
def test_the_given_rows_change_in_place(rows):
    pixels = torch.rand(4, 2, 3, 3)
    expected = pixels.clone()
    expected[rows] = 1 - expected[rows]
    changed = update_rows_(pixels, torch.tensor(rows, dtype=torch.long), lambda part: 1 - part)
    assert changed is pixels
    assert torch.equal(pixels, expected)
