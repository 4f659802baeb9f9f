import numpy as np
import pytest

from sensorium.errors import RecipeError
from sensorium.plugins.samples.musical_notes import RATE, MusicalNotes


def spectrum(source, index):
    return np.abs(np.fft.rfft(source[index].values["audio"]["array"]))


def test_notes_are_balanced_over_instruments_and_reproducible():
    one, other = MusicalNotes(64), MusicalNotes(64)
    counts = np.bincount([one.key(i).labels["instrument"] for i in range(64)])
    assert counts.tolist() == [8] * 8
    for i in (0, 9, 63):
        np.testing.assert_array_equal(one[i].values["audio"]["array"], other[i].values["audio"]["array"])
    assert one[0].values["audio"]["sampling_rate"] == RATE


def test_notes_of_one_instrument_differ():
    source = MusicalNotes(64)
    assert not np.allclose(source[0].values["audio"]["array"], source[8].values["audio"]["array"])


def test_background_noise_covers_the_spectrum():
    quiet, loud = spectrum(MusicalNotes(8, noise=0.0), 3), spectrum(MusicalNotes(8, noise=3.0), 3)
    peak = quiet.argmax()
    assert quiet[peak] > 20 * np.median(quiet)
    assert loud[peak] < 20 * np.median(loud)


def test_reading_past_the_end_stops():
    source = MusicalNotes(8)
    for read in (source.key, source.__getitem__):
        with pytest.raises(IndexError):
            read(8)


@pytest.mark.parametrize("options", [{"count": 3}, {"noise": -1.0}])
def test_invalid_options_are_refused(options):
    with pytest.raises(RecipeError, match=f"'{next(iter(options))}' of the source 'musical-notes' must be at least"):
        MusicalNotes(**options)
