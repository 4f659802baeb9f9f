import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.plugins.samples.musical_notes import RATE, Notes


def spectrum(source, index):
    return np.abs(np.fft.rfft(source[index].values["audio"]["array"]))


def test_notes_are_shared_out_evenly_and_the_same_every_time():
    one, other = Notes(64), Notes(64)
    counts = np.bincount([one.key(i).labels["instrument"] for i in range(64)])
    assert counts.tolist() == [8] * 8
    for i in (0, 9, 63):
        np.testing.assert_array_equal(one[i].values["audio"]["array"], other[i].values["audio"]["array"])
    assert one[0].values["audio"]["sampling_rate"] == RATE


def test_notes_of_one_instrument_differ():
    source = Notes(64)
    assert not np.allclose(source[0].values["audio"]["array"], source[8].values["audio"]["array"])


def test_background_alone_is_left_of_an_instrument_without_noise():
    quiet, loud = spectrum(Notes(8, noise=0.0), 3), spectrum(Notes(8, noise=3.0), 3)
    peak = quiet.argmax()
    assert quiet[peak] > 20 * np.median(quiet)
    assert loud[peak] < 20 * np.median(loud)


def test_reading_past_the_end_stops():
    source = Notes(8)
    for read in (source.key, source.__getitem__):
        with pytest.raises(IndexError):
            read(8)


@pytest.mark.parametrize("wrong", [{"count": 3}, {"noise": -1.0}])
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(DataError):
        Notes(**wrong)
