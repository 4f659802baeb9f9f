import numpy as np
import pytest

from sensorium.modalities.signal.plot import GAP, SIDE, plot


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 50), (12, 9), (64, 100), (1, 100_000), (13, 1)])
@pytest.mark.parametrize("kind", ["random", "constant", "gaps"])
def test_every_series_can_be_plotted(shape, kind):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    if kind == "constant":
        values[:] = 7
    elif kind == "gaps":
        values[:, ::2] = np.nan
    picture = plot(values)
    assert (picture.mode, picture.size) == ("RGB", (SIDE, SIDE))
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1 or shape[0] > 12


def test_a_value_between_gaps_is_visible():
    values = np.array([[1.0, np.nan, 2.0, np.nan, 3.0]])
    pixels = np.asarray(plot(values)).reshape(-1, 3)
    assert (~((pixels == 255).all(1) | (pixels == GAP).all(1))).sum() >= 3 * 5


@pytest.mark.parametrize("channels", [2, 20])
def test_gaps_are_gray_where_they_are(channels):
    values = np.tile(np.sin(np.arange(60) / 5), (channels, 1))
    whole = np.asarray(plot(values))
    assert not (whole == GAP).all(-1).any()
    values[:, 30:] = np.nan
    gray = (np.asarray(plot(values)) == GAP).all(-1)
    assert gray[:, 140:250].mean() > 0.9
    assert not gray[:, :120].any()
