"""What a page shows of a value: a caption, a small picture, a short sound."""

import io
import wave
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from sensorium.evaluation.previews import Previews
from sensorium.evaluation.shown import RATE, SECONDS, Shown, wav
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from tests import toys


def stored(uri, kind):
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(b64decode(data))


def test_a_picture_is_a_small_webp():
    shown = Shown("a", Image.new("RGB", (256, 128), (200, 10, 10)))
    small = Image.open(stored(shown.image_uri(64), "image/webp"))
    assert (small.format, small.size) == ("WEBP", (64, 32))
    assert small.getpixel((9, 9))[0] > 150
    tiny = Shown("a", Image.new("RGB", (8, 8)))
    assert Image.open(stored(tiny.image_uri(64), "image/webp")).size == (8, 8)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16_000, 2), (44_100, 1)])
def test_a_sound_is_a_short_wav_of_the_same_tone(rate, channels):
    time_S = np.arange(6 * rate) / rate
    tone_CS = np.tile(np.sin(2 * np.pi * 440 * time_S), (channels, 1)).astype(np.float32) * 0.5
    with wave.open(stored(Shown("a", sound=(tone_CS, rate)).sound_uri(), "audio/wav")) as file:
        kept = file.getframerate()
        assert kept == min(rate, RATE)
        assert (file.getnchannels(), file.getsampwidth()) == (channels, 2)
        assert file.getnframes() == SECONDS * kept
        levels_SC = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels)
    loudest = np.abs(np.fft.rfft(levels_SC[:, 0])).argmax() / SECONDS
    assert loudest == pytest.approx(440, abs=0.5)
    assert np.abs(levels_SC).max() / 32767 == pytest.approx(0.5, abs=0.02)


def test_what_is_beyond_full_scale_is_clipped():
    with wave.open(io.BytesIO(wav(np.array([[2.0, -3.0, 0.25]], np.float32), 8000))) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32767, -32767, 8192]


def test_words_have_neither():
    assert Shown("a").image_uri() is None
    assert Shown("a").sound_uri() is None


def test_previews_of_a_modality_without_sound_and_of_a_caption(monkeypatch):
    source, extensions = toys.vectors(count=4), toys.extensions()
    plan = make_plan(read_recipe(toys.pair_recipe(), extensions.registry), extensions)
    for modality in plan.modalities.values():
        modality.load_state({"mean": 0.0})
    previews = Previews(plan, source)
    shown = previews.shown(2, "a")
    assert (shown.words, shown.image.size, shown.sound) == (source[2].values["a"], (16, 16), None)
    monkeypatch.setattr(toys.VectorModality, "preview_is_caption", True)
    assert previews.shown(2, "b") == Shown(source[2].values["b"])
