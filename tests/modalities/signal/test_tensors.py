"""Tensors of signals as batches of audio and of series: axes, number types, and options of the modality."""

import pytest
import torch

from sensorium.errors import DataError, RecipeError
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.timeseries.modality import TimeSeriesModality


@pytest.mark.parametrize(
    ("modality", "shape", "message"),
    [
        (AudioModality(), (3, 16000), r"\(B, 1, T\), or \(1, T\) of one signal, not \(3, 16000\): .*x\.unsqueeze\(1\)"),
        (AudioModality(), (2, 2, 800), r"not \(2, 2, 800\): set the modality's channels to 2"),
        (AudioModality(), (2, 800, 1), r"not \(2, 800, 1\): its channels are last, so hand in x\.transpose\(1, 2\)"),
        (AudioModality(), (2, 5, 1, 800), r"join its leading axes"),
        (TimeSeriesModality(channels=2), (4, 3, 50), r"of 2 channels is \(B, 2, T\), .* not \(4, 3, 50\)"),
        (TimeSeriesModality(channels=1), (4, 50), r"not \(4, 50\): its batch axis or its channel axis is missing"),
        (TimeSeriesModality(channels=2, layout="time-first"), (2, 50), r"\(T, 2\) of one signal, not \(2, 50\)"),
        (TimeSeriesModality(), (4, 2, 0), r"it has no steps"),
    ],
)
def test_other_axes_are_named_with_those_expected(modality, shape, message):
    with pytest.raises(DataError, match=message):
        modality.batch_of(torch.zeros(shape))


def test_one_signal_is_no_batch():
    assert AudioModality().batch_of(torch.zeros(1, 800)) is None
    assert AudioModality().batch_of(torch.zeros(800)) is None
    assert TimeSeriesModality(channels=2, layout="time-first").batch_of(torch.zeros(50, 2)) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_become_float32_without_a_gradient(dtype):
    values = TimeSeriesModality().batch_of(torch.zeros(2, 1, 9, dtype=dtype, requires_grad=True)).values
    assert values.dtype == torch.float32
    assert not values.requires_grad


def test_integers_are_named():
    with pytest.raises(DataError, match=r"float, not int16: .*x / 32768"):
        AudioModality().batch_of(torch.zeros(2, 1, 800, dtype=torch.int16))


@pytest.mark.parametrize("piece", ["start", "middle"])
def test_long_audio_is_cut_as_single_clips_are(piece):
    modality, x = AudioModality(sample_rate=8000, seconds=0.0125, piece=piece), torch.randn(2, 1, 251).clamp(-1, 1)
    expected = modality.collate([modality.decode(clip.numpy()) for clip in x])
    assert torch.equal(modality.batch_of(x).values, expected.values)


def test_options_for_single_signals_are_refused():
    long = torch.zeros(2, 1, 1000)
    with pytest.raises(RecipeError, match=r"piece: random of the modality 'audio' is for single clips"):
        AudioModality(sample_rate=8000, seconds=0.0125, piece="random").batch_of(long)
    with pytest.raises(RecipeError, match="option trim of the modality 'audio' is for single clips"):
        AudioModality(trim=30).batch_of(long)
    with pytest.raises(RecipeError, match="option preprocess of the modality 'timeseries' is for single series"):
        TimeSeriesModality(preprocess=("derivative",)).batch_of(long)


def test_long_series_are_cut_at_length():
    assert TimeSeriesModality(length=20).batch_of(torch.zeros(2, 3, 50)).values.shape == (2, 3, 20)
