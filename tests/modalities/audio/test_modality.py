import numpy as np
import pytest
import torch

from sensorium import BadSample
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.audio.modality import AudioClip, AudioModality
from sensorium.modalities.audio.views.signals import PlainViews
from tests.modalities.audio.clips import RATE, batch_of, file, modality, rng, wave


@pytest.mark.parametrize("channels", [1, 2, 64])
def test_every_rate_becomes_the_modalitys(channels):
    made = modality(channels=channels)
    for rate in (8000, 11025, 44100, 48000):
        example = made.decode((wave(0.25, rate, channels), rate))
        assert example.shape == (channels, 2000)
        assert example.dtype == np.float32


def test_channels_are_mixed_or_must_agree():
    stereo = np.stack([np.full(100, 0.2), np.full(100, 0.6)])
    np.testing.assert_allclose(modality().decode(stereo), np.full((1, 100), 0.4), rtol=1e-6)
    np.testing.assert_allclose(modality(channels=2).decode(stereo), stereo, rtol=1e-6)
    with pytest.raises(BadSample, match="the audio has 2 channels, not 3"):
        modality(channels=3).decode(stereo)
    with pytest.raises(BadSample, match="the audio has 1 channels, not 2"):
        modality(channels=2).decode(stereo[:1])


def test_long_sounds_are_cut_to_a_piece():
    made = modality(seconds=0.5)
    long = np.arange(16000) / 16000
    example = made.decode(long)
    np.testing.assert_allclose(example[0], long[6000:10000], atol=1e-6)
    assert made.decode((wave(3.0, 44100), 44100)).shape == (1, 4000)
    assert made.decode(wave(0.1)).shape == (1, 800)


def test_notes_say_which_part_of_long_clips_is_read_and_which_files_are_damaged(tmp_path):
    whole = file(wave(2.0))
    (tmp_path / "cut.wav").write_bytes(whole[:20000])
    raws = [whole, wave(0.3), str(tmp_path / "cut.wav"), "absent.wav"]
    made = modality(seconds=1.5, piece="onset")
    (longer,) = made.notes(raws)
    assert longer == ("of 1 of 2 clips, longer than 1.5 s, only 1.5 s are read: from their onset on (option piece)")
    made = modality(damaged="keep")
    (damaged,) = made.notes(raws)
    assert damaged.startswith("1 of 3 clips are damaged, and read as far as they go; the first, ")
    assert damaged.endswith("cut.wav: its header says 16,000 frames, and 9,978 are there")
    assert made.decode(raws[2]).shape == (1, 9978)


@pytest.mark.parametrize(("piece", "first"), [("start", 0.0), ("middle", 0.5), ("onset", 0.65)])
def test_a_piece_of_a_longer_clip_is_read(piece, first):
    samples = np.arange(8000, dtype=np.float32)[None] / 8000
    samples[:, :5600] *= 1e-3
    made = modality(seconds=0.2, piece=piece)
    start = round(first * (8000 if piece == "onset" else 6400))
    np.testing.assert_array_equal(made.decode(samples), samples[:, start : start + 1600])


def test_random_segments_are_drawn_in_training_only():
    made = modality(seconds=0.5, piece="random")
    long = np.arange(16000, dtype=np.float32) / 16000
    views = PlainViews(made)
    recording = made.decode(file(long[None], subtype="FLOAT"))
    assert isinstance(recording, AudioClip)
    drawn = [views.stage(recording, rng(seed)) for seed in range(40)]
    starts = [round(float(piece[0, 0]) * 16000) for piece in drawn]
    assert all(piece.shape == (1, 4000) for piece in drawn)
    assert min(starts) < 1500
    assert max(starts) > 10500
    np.testing.assert_array_equal(views.stage(recording, rng(3)), drawn[3])
    batch = made.collate([recording, made.decode(wave(0.1))])
    np.testing.assert_allclose(batch.values[0, 0], long[6000:10000])
    assert batch.lengths.tolist() == [4000, 800]
    short = made.decode(wave(0.1))
    assert views.stage(short, rng()) is short
    assert made.preview(recording).size == (256, 256)


def test_without_random_segments_a_cache_can_be_used():
    from sensorium.data.decoding import overrides_stage

    assert not overrides_stage(PlainViews(modality()))
    assert overrides_stage(PlainViews(modality(seconds=1.0, piece="random")))


def test_the_scale_is_that_of_the_train_part():
    clips = [wave(0.3, tone=200 * (i + 1), seed=i) for i in range(6)]
    made = AudioModality(RATE, seconds=None, n_mels=16, window=16, hop=8)
    assert not made.is_fitted
    made.fit([*clips, np.full(10, np.nan)])
    every = torch.cat([made.front_end(made.collate([s])).values.flatten() for s in clips])
    assert made.state()["mean"] == pytest.approx(float(every.mean()), rel=1e-4)
    assert made.state()["std"] == pytest.approx(float(every.std()), rel=1e-3)
    scaled = torch.cat([made.log_mels(made.collate([s])).values.flatten() for s in clips])
    assert abs(float(scaled.mean())) < 1e-3
    assert abs(float(scaled.std()) - 1) < 1e-2
    with pytest.raises(DataError, match="no readable audio clip; the first one: "):
        made.fit([np.zeros(0)])


def test_silence_keeps_its_unit():
    made = AudioModality(RATE, seconds=None, n_mels=16, window=16, hop=8)
    made.fit([np.zeros(800)] * 3)
    assert made.state()["std"] == 1.0
    assert (made.log_mels(made.collate([made.decode(np.zeros(800))])).values.abs() < 1e-4).all()


def test_record_normalization_removes_the_channel_response():
    plain, normalized = modality(), modality(normalize="record")
    sound = wave(0.5)
    for made, same in ((plain, False), (normalized, True)):
        soft, loud = (made.log_mels(made.collate([g * sound])).values for g in (0.2, 1.0))
        assert torch.allclose(soft, loud, atol=0.02) == same
    values = normalized.log_mels(normalized.collate([sound])).values * 3 - 5
    assert values.mean(2).abs().max() < 1e-4


def test_baseline_features_features_are_mean_and_deviation_of_real_frames():
    made = modality()
    batch = batch_of([900, 200])
    mels = made.log_mels(batch)
    features = made.baseline_features(batch)
    assert features.shape == (2, 32)
    for row, length in enumerate(mels.lengths.tolist()):
        real = mels.values[row, :, :length].double()
        expected = torch.cat([real.mean(1), real.std(1, correction=0)])
        np.testing.assert_allclose(features[row], expected, rtol=1e-4, atol=1e-5)


def test_log_mels_are_not_made_twice():
    made = modality()
    mels = made.log_mels(batch_of([500]))
    assert made.log_mels(mels) is mels


def test_previews_show_waveforms_and_hidden_bands():
    made = modality(channels=2)
    batch = batch_of([900, 100], channels=2)
    mels = made.log_mels(batch).masked(torch.arange(32)[:, None] < 8)
    for examples in (made.examples(batch), made.examples(mels)):
        for example in examples:
            spectrogram_image = made.preview(example)
            assert (spectrogram_image.mode, spectrogram_image.size) == ("RGB", (256, 256))
            assert len(spectrogram_image.getcolors(2**16)) > 4
    assert (150, 150, 150) in {color for _, color in made.preview(made.examples(mels)[0]).getcolors(2**16)}


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 0},
        {"sample_rate": 10},
        {"seconds": 0.0},
        {"trim": 0.0},
        {"seconds": None, "piece": "random"},
        {"n_mels": 1},
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(RecipeError):
        modality(**options)


def test_trims_what_it_decodes_where_asked():
    quiet = np.concatenate([np.zeros(800), np.sin(np.arange(1600) / 5), np.zeros(800)]).astype(np.float32)
    assert modality(trim=30.0).decode(quiet).shape[1] < modality().decode(quiet).shape[1] == 3200
    with pytest.raises(RecipeError, match="above 0, not -3"):
        modality(trim=-3.0)


def test_a_clip_can_be_heard_and_log_mels_cannot():
    modality = AudioModality(sample_rate=8000, seconds=1.0)
    modality.load_state({"mean": 0.0, "std": 1.0})
    example = modality.decode((np.linspace(-0.5, 0.5, 4000, dtype=np.float32)[None], 8000))
    samples_CS, rate = modality.sound(example)
    assert rate == 8000
    np.testing.assert_array_equal(samples_CS, example)
    assert modality.sound(modality.log_mels(modality.collate([example])).unpad()[0]) is None
