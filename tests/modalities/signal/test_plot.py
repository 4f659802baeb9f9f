import numpy as np
import pytest

from sensorium.modalities.signal.plot import EDGE, GAP, INK, MASK, NAMED, SIDE, STRIP, TimeAxis, plot, ticks


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


def test_ticks_are_round_numbers_and_the_last_has_the_unit():
    assert ticks(0, 0.62, 4, "s") == [
        (0.0, "0"),
        (0.2, "0.2"),
        (pytest.approx(0.4), "0.4"),
        (pytest.approx(0.6), "0.6 s"),
    ]
    assert [text for _, text in ticks(-1.0, 430, 4)] == ["0", "200", "400"]
    assert ticks(3, 3, 4) == []
    for start, end in ((0, 1e-7), (1e9, 1e9 + 5), (-3, 7e5)):
        assert 1 <= len(ticks(start, end, 4)) <= 5


def test_a_crop_is_drawn_where_it_lies_and_masked_steps_are_dark():
    values = np.tile(np.sin(np.arange(100) / 9), (2, 1))
    pixels = np.asarray(plot(values, ("a [V]", "b"), TimeAxis(0.1, "s", (250.0, 250.0, 1000.0))))
    bar = (pixels[STRIP // 2] == INK[0]).all(-1)
    covered = np.flatnonzero(bar)
    assert covered.min() == pytest.approx(EDGE + (SIDE - 2 * EDGE) * 0.25, abs=2)
    assert covered.max() == pytest.approx(EDGE + (SIDE - 2 * EDGE) * 0.5, abs=2)
    beyond = np.asarray(plot(values, (), TimeAxis(crop=(-5.0, 40.0, 20.0))))  # a crop may be larger than its record
    assert (beyond[STRIP // 2, :EDGE] == 255).all()
    masked_T = np.arange(100) >= 50
    pixels = np.asarray(plot(values, (), TimeAxis(), masked_T))
    dark = (pixels == MASK).all(-1)
    assert dark[20:200, SIDE // 2 + 4 : SIDE - EDGE - 2].mean() > 0.8
    assert not dark[:, : SIDE // 2 - 4].any()


@pytest.mark.parametrize("channels", [1, 8, 9, 13])
def test_names_are_written_where_they_have_room(channels):
    values = np.random.default_rng(0).standard_normal((channels, 30))
    names = [f"a very long name of the channel number {row} [V]" for row in range(channels)]
    named, bare = plot(values, names, TimeAxis()), plot(values, (), TimeAxis())
    assert (named != bare) == (channels <= NAMED)
    assert named.size == (SIDE, SIDE)
