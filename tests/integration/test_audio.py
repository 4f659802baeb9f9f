"""From a folder of audio files of many formats to features, and through an interruption."""

import json

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

import sensorium
from sensorium.errors import RecipeError
from tests.docs.materials import wav2vec2
from tests.unreadable import unreadable

SMALL = [
    "modalities.audio.modality={name: audio, sample_rate: 8000, seconds: 0.4, n_mels: 16, window: 16.0, hop: 8.0}",
    "modalities.audio.modality.f_max=null",
    "modalities.audio.views={name: spectrogram, noise: [5.0, 30.0], freq_mask: 0.2}",
    "modalities.audio.encoder={name: conv, width: 4, dim: 8, downsample: stride}",
    "objective={name: byol, width: 16, dim: 8}",
    "evaluate.evaluators={linear: {label: class}}",
    "data.batch=8",
    "data.workers=0",
    "log.loggers={}",
    "train.accelerator=cpu",
]
KINDS = [
    ("mp3", 44100, 2),
    ("wav", 22050, 1),
    ("flac", 48000, 2),
    ("ogg", 16000, 1),
    ("mp3", 8000, 1),
    ("wav", 11025, 6),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of audio clips, high and low, in files of several formats, and a text file named .wav."""
    root = tmp_path_factory.mktemp("clips")
    draw = np.random.default_rng(0)
    for name, tone in (("low", 200), ("high", 1500)):
        (root / name).mkdir()
        for number in range(18):
            ending, rate, channels = KINDS[number % len(KINDS)]
            time = np.arange(round(rate * draw.uniform(0.1, 1.0))) / rate
            wave = 0.4 * np.sin(2 * np.pi * tone * draw.uniform(0.9, 1.1) * time)
            soundfile.write(root / name / f"{number}.{ending}", np.stack([wave] * channels, 1), rate)
    (root / "low" / "notes.wav").write_text("not audio")
    return root


def trained(folder, run, *changes):
    return sensorium.fit("byol-a", [f"data.source.path={folder}", "data.max_bad=0.1", *SMALL, *changes], run_dir=run)


def test_a_folder_of_mixed_files_trains_and_is_measured(folder, tmp_path):
    model = trained(folder, tmp_path / "run", "train.steps=6")
    bad = unreadable(tmp_path / "run")
    assert {entry["record"] for entry in bad} == {"low/notes.wav"}
    assert all("not a readable audio file" in entry["reason"] for entry in bad)
    assert (tmp_path / "run" / "views.png").stat().st_size > 1000
    table = sensorium.evaluate(tmp_path / "run")["linear"]
    assert {row.name for row in table.rows} == {"chance", "baseline", "untrained", "trained"}
    paths = [str(folder / "high" / f"{n}.{KINDS[n][0]}") for n in range(6)]
    vectors = model.embed(audio=paths, space="features")["audio"]
    assert vectors.shape == (6, 8)
    again = sensorium.load(tmp_path / "run").embed(audio=paths, space="features")["audio"]
    assert torch.equal(vectors, again)


POOR = {
    "a_hundredth_of_a_second": (800, 1, "PCM_16"),
    "one_sample": (1, 1, "PCM_16"),
    "eight_bits": (4000, 2, "PCM_U8"),
    "twenty_four_bits": (4000, 1, "PCM_24"),
    "floats": (4000, 1, "FLOAT"),
    "sixty_four_channels": (4000, 64, "PCM_16"),
}


def test_bad_sounds_are_named_and_poor_ones_are_no_harm(tmp_path):
    folder, draw = tmp_path / "clips", np.random.default_rng(0)
    folder.mkdir()

    def write(name, samples, subtype="PCM_16", rate=8000):
        soundfile.write(folder / name, samples, rate, subtype)

    for number in range(6):
        write(f"good_{number}.wav", 0.1 * draw.standard_normal(4000))
    for name, (samples, channels, subtype) in POOR.items():
        write(f"{name}.wav", 0.1 * draw.standard_normal((samples, channels)), subtype, rate=80000)
    write("constant.wav", np.full(4000, 0.5))
    write("silent.wav", np.zeros(4000))
    write("nan.wav", np.full(4000, np.nan), "FLOAT")
    write("infinite.wav", np.full(4000, np.inf), "FLOAT")
    write("no_samples.wav", np.zeros(0))
    write("cut.flac", 0.1 * draw.standard_normal(40000))
    (folder / "cut.flac").write_bytes((folder / "cut.flac").read_bytes()[:20000])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "words.wav").write_text("not audio")

    changes = [
        "train.steps=6",
        "data.max_bad=0.7",
        "data.batch=4",
        "data.val=0",
        "data.test=0",
        "evaluate.evaluators={}",
    ]
    model = trained(folder, tmp_path / "run", *changes)
    bad = unreadable(tmp_path / "run")
    reasons = {entry["record"]: entry["reason"] for entry in bad}
    assert reasons.keys() == {"nan.wav", "infinite.wav", "no_samples.wav", "cut.flac", "empty.wav", "words.wav"}
    for name, words in (("nan.wav", "is nan"), ("infinite.wav", "is inf"), ("empty.wav", "is empty")):
        assert words in reasons[name]
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(losses).all()
    names = [*POOR, "constant", "silent"]
    assert model.embed(audio=[str(folder / f"{name}.wav") for name in names])["audio"].isfinite().all()


@pytest.mark.parametrize("piece", ["middle", "random"])
def test_a_resumed_run_is_bit_equal(folder, tmp_path, piece):
    changes = [f"modalities.audio.modality.piece={piece}", "evaluate.evaluators={}", "checkpoint.every=0.5"]
    whole = trained(folder, tmp_path / "whole", "train.steps=6", *changes)
    trained(folder, tmp_path / "cut", "train.steps=6", *changes)
    _, *later = sorted((tmp_path / "cut" / "checkpoints").iterdir())
    assert later
    for checkpoint in later:
        checkpoint.unlink()
    resumed = sensorium.fit(resume=tmp_path / "cut").learner.state_dict()
    for name, weights in whole.learner.state_dict().items():
        assert torch.equal(weights, resumed[name]), name


CONTINUED = [
    "modalities.audio.modality.seconds=0.5",
    "modalities.audio.unfreeze=null",
    "train.steps=2",
    "train.accelerator=cpu",
    "data.batch=4",
    "data.workers=0",
    "data.max_bad=0.1",
    "log.loggers={}",
    "evaluate.evaluators={}",
]


def test_a_run_goes_on_from_a_pretrained_folder_and_needs_only_its_config_later(folder, tmp_path):
    pytest.importorskip("transformers")
    wav2vec2(tmp_path / "pretrained")
    changes = [f"data.source.path={folder}", f"modalities.audio.encoder.model={tmp_path / 'pretrained'}", *CONTINUED]
    model = sensorium.fit("continue-audio", changes, run_dir=tmp_path / "run")
    before = load_file(tmp_path / "pretrained" / "model.safetensors")
    after = model.encoder("audio").model.state_dict()
    moved = {name: (after[name] - value).abs().max().item() for name, value in before.items()}
    assert 0 < max(moved.values()) < 1e-3, "it starts from the folder's weights"
    (tmp_path / "pretrained" / "model.safetensors").unlink()
    clip = {"array": np.sin(np.arange(6000) / 20).astype(np.float32), "sampling_rate": 16000}
    opened = sensorium.load(tmp_path / "run")
    assert torch.equal(opened.embed(audio=[clip])["audio"], model.embed(audio=[clip])["audio"])
    with pytest.raises(RecipeError, match=r"at 16000 Hz, and the modality gives 8000 Hz: set sample_rate of the"):
        sensorium.fit("continue-audio", [*changes, "modalities.audio.modality.sample_rate=8000"])
