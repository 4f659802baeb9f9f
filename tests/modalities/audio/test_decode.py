import struct
import tracemalloc

import numpy as np
import pytest
import torch

from sensorium import BadSample
from sensorium.modalities.audio import decode
from sensorium.modalities.audio.decode import read_segment, resample, trim_silence
from tests.modalities.audio.clips import RATE, file, wave


def read(raw, seconds=None, **options):
    return read_segment(raw, RATE, seconds, **options)


@pytest.mark.parametrize(
    ("format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 0),
        ("WAV", "DOUBLE", 0),
        ("FLAC", "PCM_16", 1e-4),
        ("FLAC", "PCM_24", 1e-6),
        ("OGG", "VORBIS", 0.1),
        ("OGG", "OPUS", None),
        ("MP3", "MPEG_LAYER_III", None),
    ],
)
def test_every_kind_of_file(format, subtype, tolerance, tmp_path):
    samples = wave(0.3, channels=2)
    data = file(samples, format=format, subtype=subtype)
    path = tmp_path / "clip"
    path.write_bytes(data)
    for raw in (data, memoryview(data), str(path), path, {"bytes": data, "path": None}, {"path": str(path)}):
        segment = read(raw)
        assert segment.samples_CS.dtype == np.float32
        assert segment.samples_CS.flags.c_contiguous
        assert segment.rate == RATE
        assert segment.rest == 0
        if tolerance is None:  # lossy, and padded at both ends
            spectrum = np.abs(np.fft.rfft(segment.samples_CS[0][:2000] * np.hanning(2000)))
            assert abs(spectrum.argmax() * RATE / 2000 - 440) < 8
        else:
            np.testing.assert_allclose(segment.samples_CS, samples, atol=tolerance)


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 44100), (6, 48000), (16, 11025)])
def test_arrays_of_any_type_and_their_rates(channels, rate):
    samples = wave(0.05, rate, channels)
    for array in (samples, torch.from_numpy(samples), samples.astype(np.float64), samples.tolist()):
        np.testing.assert_allclose(read((array, rate)).samples_CS, samples, atol=1e-7)
        assert read((array, rate)).rate == rate
    whole = np.clip(samples * 32768, -32768, 32767).astype(np.int16)
    np.testing.assert_allclose(read({"array": whole, "sampling_rate": rate}).samples_CS, samples, atol=1e-4)
    eight = np.rint(samples * 127 + 128).astype(np.uint8)
    np.testing.assert_allclose(read((eight, rate)).samples_CS, samples, atol=1e-2)
    assert read(samples).rate == RATE
    assert read(samples[0]).samples_CS.shape == (1, samples.shape[1])


def test_a_segment_has_the_requested_position():
    samples = np.arange(1000, dtype=np.float32)[None] / 1000
    for raw in ((samples, 1000), file(samples, 1000, subtype="FLOAT"), file(samples, 1000, "FLAC", "PCM_24")):
        for position, start in ((0.0, 0), (0.5, 450), (1.0, 900)):
            segment = read(raw, 0.1, position=position)
            np.testing.assert_allclose(segment.samples_CS[0], samples[0, start : start + 100], atol=1e-6)
            assert segment.rest == pytest.approx(0.9)
        assert read(raw, 5.0).samples_CS.shape == (1, 1000)


def two_hours(path, rate=8000):
    """Write two hours of 16-bit silence as a sparse file."""
    size = 2 * 3600 * rate * 2
    with open(path, "wb") as out:
        out.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt ")
        out.write(struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16) + b"data" + struct.pack("<I", size))
        out.truncate(44 + size)
    return path


def mp3_errors(rate=22050):
    """How far segments of an MP3 are from the same samples of the whole."""
    raw = file(wave(2.0, rate, tone=2000.0) * 0.6 + wave(2.0, rate, seed=3), rate, "MP3", "MPEG_LAYER_III")
    whole_CS = read_segment(raw, rate, None).samples_CS
    for position in np.linspace(0, 1, 41):
        segment_CS = read_segment(raw, rate, 0.1, position).samples_CS
        start = round(position * (whole_CS.shape[1] - segment_CS.shape[1]))
        yield np.abs(segment_CS - whole_CS[:, start : start + segment_CS.shape[1]]).max()


def test_a_segment_of_an_mp3_is_the_same_as_in_the_whole(monkeypatch):
    assert max(mp3_errors()) < 1e-6
    monkeypatch.setattr(decode, "MP3_PREROLL", 0)
    assert max(mp3_errors()) > 1e-3  # the library alone is wrong there


def test_two_hours_cost_no_more_than_a_segment(tmp_path):
    path = two_hours(tmp_path / "long.wav")
    tracemalloc.start()
    segment = read(path, 10.0, position=0.9)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert segment.samples_CS.shape == (1, 80000)
    assert segment.rest == 7190
    assert held < 2e6


def test_a_hundredth_of_a_second_and_a_single_sample():
    assert read(file(wave(0.01))).samples_CS.shape == (1, 80)
    assert read(file(wave(0))).samples_CS.shape == (1, 1)
    assert resample(np.ones((1, 1), np.float32), 48000, 8000).shape == (1, 1)


def test_constant_audio_stays_constant():
    np.testing.assert_array_equal(read(np.zeros(100)).samples_CS, np.zeros((1, 100)))
    assert np.abs(resample(np.full((1, 4000), 0.5, np.float32), 11025, 8000)[0, 200:-200] - 0.5).max() < 1e-3


def truncated():
    data = file(wave(3.0, seed=1), format="FLAC")
    return data[: len(data) // 2]


BAD = [
    ([0.1, np.nan, 0.2], "sample 1 of channel 0 is nan"),
    (np.array([[0.0, 0.1], [np.inf, 0.0]]), "sample 0 of channel 1 is inf"),
    (np.full((2, 9), np.nan), "sample 0 of channel 0 is nan"),
    (np.full(9, -np.inf), "sample 0 of channel 0 is -inf"),
    (np.array([1e300]), "is inf"),
    (np.array([1e6]), "times full scale"),
    (np.zeros(0), "no samples"),
    (np.zeros((0, 5)), "no channels"),
    (np.zeros((2, 2, 2)), "numbers of shape"),
    (np.array(["a"]), "numbers of shape"),
    (np.zeros(3, complex), "numbers of shape"),
    ((np.zeros(3), 0), "sample rate of 0 Hz"),
    ((np.zeros(3), 2**31), "sample rate of 2147483648 Hz"),
    ((np.zeros(3), "fast"), "audio is a file, an array"),
    ({"array": None}, "an audio mapping has"),
    (b"", "it is empty"),
    (b"RIFF", "not a readable audio file"),
    ("/nowhere/at/all.wav", "is not a file"),
    ("/", "is not a file"),
]


@pytest.mark.parametrize(("raw", "reason"), BAD, ids=range(len(BAD)))
def test_invalid_values_are_refused_with_the_reason(raw, reason):
    with pytest.raises(BadSample, match=reason):
        read(raw)


def test_floats_in_files_are_checked():
    samples = wave(0.1)
    samples[0, 7] = np.nan
    with pytest.raises(BadSample, match="sample 7 of channel 0 is nan"):
        read(file(samples, subtype="FLOAT"))


def test_a_truncated_file_is_refused():
    for seconds in (None, 0.2):  # also where the part that is read is there
        with pytest.raises(BadSample, match="end cannot be decoded") as caught:
            read(truncated(), seconds, position=0.0)
        assert caught.value.kind == "damaged"
    segment = read(truncated(), 0.2, position=0.0, keeps_damaged=True)
    assert segment.samples_CS.shape == (1, 1600)


def test_the_onset_of_a_clip_is_found_in_files_and_arrays():
    samples = np.concatenate([0.003 * wave(2.0), wave(1.0), 0.003 * wave(2.0)], axis=1)
    for raw in (samples, file(samples), file(samples, format="FLAC")):
        segment = read(raw, 0.5, position="onset")
        assert segment.samples_CS.shape == (1, RATE // 2)
        audible = np.flatnonzero(np.abs(segment.samples_CS[0]) > 0.1)[0]
        assert audible == pytest.approx(0.05 * RATE, abs=0.011 * RATE)
    late = np.concatenate([0.003 * wave(2.0), wave(0.1)], axis=1)
    np.testing.assert_allclose(read(late, 1.0, position="onset").samples_CS, late[:, -RATE:])  # up to the end
    np.testing.assert_allclose(read(late, 9.0, position="onset").samples_CS, late)
    assert read(np.zeros((1, 8000), np.float32), 0.5, position="onset").samples_CS.shape == (1, RATE // 2)


@pytest.mark.parametrize("name", ["text.wav", "text.flac", "text.mp3", "text.raw", "text"])
def test_text_under_another_name_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text("This is not audio.\n" * 20)
    with pytest.raises(BadSample, match="not a readable audio file"):
        read(path)


@pytest.mark.parametrize(
    ("rate", "new_rate"),
    [(44100, 16000), (48000, 8000), (8000, 16000), (44101, 16000), (7999, 8000)],
)
def test_resampling_keeps_tone_length_and_loudness(rate, new_rate):
    made = resample(wave(1.0, rate), rate, new_rate)
    assert made.shape == (1, new_rate)
    assert made.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(made[0]))
    assert spectrum.argmax() == 440
    assert abs(made[0, 500:-500].std() / 0.3536 - 1) < 0.02


def test_unusual_rates_have_no_giant_filter(monkeypatch):
    made = []
    make = decode._resampler.__wrapped__
    monkeypatch.setattr(decode, "_resampler", lambda *rates: made.append(make(*rates)) or made[-1])
    for rate in (44101, 191_999, 999_983):
        resample(wave(0.01, rate), rate, 16000)
    assert max(resampler.kernel.numel() for resampler in made) < 2e8


def test_silence_at_the_ends_is_trimmed_and_none_within():
    clip = np.zeros((2, 8000), np.float32)
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    clip[:, 2000:3000], clip[1, 4000:5000] = noise[:1000], noise[:1000]
    found = trim_silence(clip + 1e-3 * noise, 8000, 30.0)
    np.testing.assert_array_equal(found, (clip + 1e-3 * noise)[:, 2000:5040][:, : found.shape[1]])
    assert 2960 < found.shape[1] <= 3040
    assert trim_silence(clip + 1e-3 * noise, 8000, 80.0).shape == (2, 8000)  # noise is no silence then


@pytest.mark.parametrize("clip", [np.zeros((1, 500)), np.full((1, 500), 0.3), np.ones((1, 1)), np.ones((1, 81))])
def test_a_constant_clip_is_not_trimmed(clip):
    assert trim_silence(clip.astype(np.float32), 8000, 30.0).shape == clip.shape


def test_an_array_of_samples_by_channels_is_refused_in_a_sentence():
    with pytest.raises(BadSample, match=r"2532 channels of 2 samples has its axes the other way round.*transpose it"):
        read((np.zeros((2532, 2), np.float32), 16000))
    assert read((np.zeros((2, 2532), np.float32), 16000)).samples_CS.shape[0] == 2
    assert read((np.zeros((8, 4), np.float32), 16000)).samples_CS.shape[0] == 8
