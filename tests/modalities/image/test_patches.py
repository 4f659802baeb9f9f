"""The grid of patches."""

import pytest

from sensorium import SensoriumError
from sensorium.modalities.image.patches import patch_grid


def test_automatic_patches_are_an_eighth():
    assert patch_grid((64, 64), "auto") == (8, 8, 8)
    assert patch_grid((64, 128), "auto") == (8, 8, 16)
    assert patch_grid((4, 4), "auto") == (1, 4, 4)


def test_patches_must_tile():
    assert patch_grid((32, 48), 16) == (16, 2, 3)
    with pytest.raises(SensoriumError, match="tile"):
        patch_grid((30, 30), 16)
