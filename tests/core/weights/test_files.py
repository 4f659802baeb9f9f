"""Weights are read from what libraries, training scripts and runs write, without running code."""

import argparse
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sensorium.errors import RecipeError
from sensorium.weights import folder_of, read_weights

WEIGHTS = {"map.weight": torch.arange(6.0).reshape(2, 3), "map.bias": torch.ones(2)}


def same(found):
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model": w, "args": argparse.Namespace(lr=0.1), "optimizer": {"state": {}}},
        lambda w: {"teacher": w, "student": {"map.weight": w["map.weight"] + 1}},
        lambda w: {"model": {"state_dict": w}},
    ],
)
def test_files_of_training_scripts(tmp_path, suffix, wrap):
    torch.save(wrap(WEIGHTS), tmp_path / f"file{suffix}")
    assert same(read_weights(tmp_path / f"file{suffix}"))


def test_safetensors_and_npz(tmp_path):
    save_file(WEIGHTS, tmp_path / "file.safetensors")
    np.savez(tmp_path / "file.npz", **{name: tensor.numpy() for name, tensor in WEIGHTS.items()})
    assert same(read_weights(tmp_path / "file.safetensors"))
    assert same(read_weights(str(tmp_path / "file.npz")))


@pytest.mark.parametrize("name", ["model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "mine.pth"])
def test_folders_of_libraries(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    save_file(WEIGHTS, tmp_path / name) if name.endswith("safetensors") else torch.save(WEIGHTS, tmp_path / name)
    assert same(read_weights(tmp_path))


def test_shards(tmp_path):
    parts = {f"model-{i}.safetensors": {name: w} for i, (name, w) in enumerate(WEIGHTS.items())}
    for file, part in parts.items():
        save_file(part, tmp_path / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same(read_weights(tmp_path))


class RunsCode:
    def __reduce__(self):
        return print, ("code ran",)


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"state_dict": WEIGHTS, "model": RunsCode()}, tmp_path / "file.pth")
    with pytest.raises(RecipeError, match=r"cannot be read without running the code in them.*safetensors"):
        read_weights(tmp_path / "file.pth")
    assert "code ran" not in capsys.readouterr().out


def test_what_is_not_there_or_no_weights(tmp_path):
    with pytest.raises(RecipeError, match=r"There is no file or folder .*gone.pth: check the path"):
        read_weights(tmp_path / "gone.pth")
    with pytest.raises(RecipeError, match=r"does not say which file has its weights .it has none"):
        read_weights(tmp_path)
    for name in ("a.pth", "b.pth"):
        torch.save(WEIGHTS, tmp_path / name)
    with pytest.raises(RecipeError, match=r"it has a.pth, b.pth.: name the file"):
        read_weights(tmp_path)
    (tmp_path / "damaged.safetensors").write_bytes(b"0123456789")
    with pytest.raises(RecipeError, match=r"damaged.safetensors cannot be read"):
        read_weights(tmp_path / "damaged.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(RecipeError, match=r"hold list, no state_dict"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(RecipeError, match=r"hold no tensors"):
        read_weights(tmp_path / "none.pth")


def test_the_hub_is_asked_only_by_name(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, revision, allow_patterns):
        asked.append((name, revision))
        if name == "lost/model":
            raise OSError("no route to host")
        save_file(WEIGHTS, tmp_path / "model.safetensors")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert same(read_weights("hub:maker/model@v2"))
    assert folder_of(tmp_path) == tmp_path
    assert asked == [("maker/model", "v2")]
    with pytest.raises(RecipeError, match=r"'hub:lost/model' cannot be downloaded \(OSError: no route to host\)"):
        folder_of("hub:lost/model")
