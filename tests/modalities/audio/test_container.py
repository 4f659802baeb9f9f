"""Files that are cut, and those whose length their writer did not know."""

import struct
from io import BytesIO

import numpy as np
import pytest

from sensorium import BadSample
from sensorium.modalities.audio.container import what_is_missing
from sensorium.modalities.audio.decode import read_segment
from tests.modalities.audio.clips import RATE, file, wave

KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
SAMPLES = wave(1.5)


def cut(data: bytes, fraction: float) -> bytes:
    return data[: int(len(data) * fraction)]


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_a_whole_file_is_read_and_a_cut_one_is_damaged(format, subtype, tmp_path):
    data = file(SAMPLES, RATE, format, subtype)
    assert what_is_missing(BytesIO(data), len(data)) is None
    assert read_segment(data, RATE, 0.2, 0.0).samples_CS.shape == (1, RATE // 5)
    path = tmp_path / "cut"
    for fraction in (0.99, 0.9, 0.6):
        path.write_bytes(cut(data, fraction))
        for raw in (cut(data, fraction), str(path)):
            with pytest.raises(
                BadSample, match=r"damaged: .*\(damaged: keep reads what is there\)|not a readable"
            ) as bad:
                read_segment(raw, RATE, 0.2, 0.0)
            assert bad.value.kind == "damaged"


@pytest.mark.parametrize(
    ("format", "subtype"), [kind for kind in KINDS if {*kind}.isdisjoint({"CAF", "OGG", "IMA_ADPCM"})]
)
def test_what_is_there_of_a_cut_file_can_be_kept(format, subtype):
    segment = read_segment(cut(file(SAMPLES, RATE, format, subtype), 0.7), RATE, None, keeps_damaged=True)
    frames = segment.samples_CS.shape[1]
    assert 0.5 * SAMPLES.shape[1] < frames < 0.9 * SAMPLES.shape[1]
    assert segment.missing
    if format != "MP3":  # whose start has a delay
        np.testing.assert_allclose(segment.samples_CS, SAMPLES[:, :frames], atol=0.02)


def test_the_sentence_has_the_frames_of_the_header_and_those_there():
    with pytest.raises(BadSample, match="header says 12,000 frames, and 1,978 are there"):
        read_segment(file(SAMPLES)[:4000], RATE, None)


@pytest.mark.parametrize("format", ["FLAC", "OGG", "MP3"])
def test_a_tail_of_zeros_is_damaged(format):
    data = bytearray(file(wave(4.0), RATE, format))
    data[len(data) * 2 // 3 :] = bytes(len(data) - len(data) * 2 // 3)
    with pytest.raises(BadSample, match="last 512 bytes are zeros"):
        read_segment(bytes(data), RATE, 0.2, 0.0)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36])
@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF])
def test_a_file_written_to_a_pipe_is_whole(length, riff, tmp_path):
    data = bytearray(file(SAMPLES))
    data[4:8], data[40:44] = struct.pack("<I", riff), struct.pack("<I", length)
    path = tmp_path / "piped.wav"
    path.write_bytes(data)
    for raw in (bytes(data), str(path)):
        assert read_segment(raw, RATE, None).samples_CS.shape == SAMPLES.shape


def test_a_file_without_audio_stays_empty():
    data = file(np.zeros((1, 0), np.float32))
    data = data[:40] + struct.pack("<I", 0) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(BadSample, match="no samples") as caught:
        read_segment(data, RATE, None)
    assert caught.value.kind == "empty"


def test_an_mp3_without_a_length_in_its_header_tells_by_its_last_frame():
    whole = file(wave(4.0), RATE, "MP3")
    frames = whole[whole.index(b"\xff\xe3", 64) :]  # without the first one, which has the length
    assert what_is_missing(BytesIO(frames), len(frames)) is None
    tagged = frames + b"TAG" + bytes(125)
    assert what_is_missing(BytesIO(tagged), len(tagged)) is None
    for fraction in (0.999, 0.8, 0.3):
        part = cut(frames, fraction)
        assert what_is_missing(BytesIO(part), len(part)) == "its last frame is cut"


def test_other_contents_are_left_to_the_decoder():
    for data in (b"", b"RIFF", b"RIFF\0\0\0\0AVI LIST", b"\xff\xd8\xff\xe0" + bytes(9), b"text, not audio"):
        assert what_is_missing(BytesIO(data), len(data)) is None


def test_surround_and_a_rate_of_zero():
    surround = np.concatenate([wave(0.5, tone=200.0 * (i + 1)) for i in range(6)])
    assert read_segment(file(surround), RATE, None).samples_CS.shape == (6, RATE // 2)
    data = bytearray(file(SAMPLES))
    data[24:28] = bytes(4)
    with pytest.raises(BadSample, match="not a readable audio file"):
        read_segment(bytes(data), RATE, None)
