import numpy as np
import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from sensorium.errors import RecipeError
from sensorium.modalities.audio.mels import LOG_OFFSET, LogMelSpectrogram
from sensorium.modalities.signal.batch import SignalBatch
from tests.modalities.audio.clips import RATE, batch_of, wave


def front_end(**options):
    return LogMelSpectrogram(
        **{"sample_rate": RATE, "n_mels": 16, "window": 16.0, "hop": 8.0, "f_min": 60.0, "f_max": None, **options}
    )


def test_is_torchaudios_mel_spectrogram():
    made = front_end()
    batch = batch_of([640, 640], channels=2)
    theirs = MelSpectrogram(
        RATE, n_fft=made.n_fft, win_length=128, hop_length=64, f_min=60, f_max=4000, n_mels=16, center=False
    )
    before = (made.n_fft - 64) // 2
    padded = torch.nn.functional.pad(batch.values, (before, made.n_fft))
    expected = (theirs(padded)[..., :10] + LOG_OFFSET).log().flatten(1, 2)
    found = made(batch)
    assert found.lengths.tolist() == [10, 10]
    torch.testing.assert_close(found.values, expected, rtol=1e-4, atol=1e-4)


def test_padding_changes_no_frame():
    made, lengths = front_end(), [1000, 333, 64, 65, 1]
    batch = batch_of(lengths)
    together = made(batch)
    assert together.lengths.tolist() == [-(-n // 64) for n in lengths]
    for row, example in enumerate(batch.unpad()):
        alone = made(SignalBatch.join([example]))
        count = int(together.lengths[row])
        torch.testing.assert_close(together.values[row, :, :count], alone.values[0], rtol=1e-5, atol=1e-5)
        assert (together.values[row, :, count:] == 0).all()
        assert not together.observed[row, :, count:].any()


@pytest.mark.parametrize("numbers", [1, 3000])  # a clip at a time, and a few
def test_chunks_of_a_batch_change_nothing(numbers, monkeypatch):
    batch = batch_of([640, 333, 64, 1, 500, 2], channels=2)
    whole = front_end()(batch)
    monkeypatch.setattr("sensorium.modalities.audio.mels.CHUNK", numbers)
    torch.testing.assert_close(front_end()(batch).values, whole.values, rtol=1e-6, atol=1e-6)


def test_a_tone_lies_in_its_band_at_its_time():
    samples = np.zeros((1, 8000), np.float32)
    samples[:, 4000:] = wave(0.5, tone=1000.0)[:, :4000]
    values = front_end()(SignalBatch.join([samples])).values[0]
    loudest = values[:, 90].argmax()
    assert values[:, 90].max() > values[:, 20].max() + 5
    edges = 700 * (10 ** (np.linspace(*(2595 * np.log10(1 + np.array([60, 4000]) / 700)), 18) / 2595) - 1)
    assert edges[loudest] < 1000 < edges[loudest + 2]
    assert (values[:, :60] == np.float32(np.log(LOG_OFFSET))).all()


@pytest.mark.parametrize(
    "options",
    [
        {"hop": 20.0},
        {"hop": 0.01},
        {"f_min": 5000.0},
        {"f_min": 500.0, "f_max": 400.0},
        {"f_max": 4001.0},
        {"n_mels": 1},
        {"n_mels": 500},
    ],
)
@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_invalid_options_are_refused(options):
    with pytest.raises(RecipeError):
        front_end(**options)


def test_autocast_keeps_single_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = front_end()(batch_of([500]))
    assert found.values.dtype == torch.float32
    torch.testing.assert_close(found.values, front_end()(batch_of([500])).values)
