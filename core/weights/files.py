"""Files and folders of weights, read without running code."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sensorium.errors import MissingFile, RecipeError
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run

HUB = "hub:"
"""Prefix of the name of a repository on the Hugging Face hub, which is downloaded."""
RANDOM = "random"
"""In place of weights: none, even of an encoder whose model has some."""
OF_FOLDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
)
"""Files of weights that folders of libraries have, the first one found is read; an index names several."""
WRAPPED = ("state_dict", "model", "model_state_dict", "target_encoder", "teacher", "encoder", "module", "learner")
"""Names under which files of training scripts keep the weights of a model, in the order in which they are tried."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz")


def folder_of(where: str | Path) -> Path:
    """Return the folder or file that a recipe names, downloaded first where it is on the hub.

    Args:
        where: a path, or "hub:NAME" with the name of a repository, NAME@REVISION for one of its revisions.

    Raises:
        MissingFile: when it is not there.
        RecipeError: when it cannot be downloaded.
    """
    if not str(where).startswith(HUB):
        path = Path(where).expanduser()
        if not path.exists():
            raise MissingFile(
                f"There is no file or folder {where}: check the path, or name a hub's model as {HUB}NAME."
            )
        return path
    from huggingface_hub import snapshot_download

    name, _, revision = str(where).removeprefix(HUB).partition("@")
    kinds = [f"*{suffix}" for suffix in SUFFIXES] + ["*.json", "*.txt", "*.model", "*/config.json"]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=kinds))
    except Exception as error:  # of the network, of the hub, of a name
        raise RecipeError(
            f"'{where}' cannot be downloaded ({type(error).__name__}: {str(error).splitlines()[0]}): check the "
            "name and the network, or download the folder elsewhere and name its path."
        ) from error


def read_weights(where: str | Path, modality: str | None = None) -> dict[str, Tensor]:
    """Return the weights of a file or a folder by name, on the CPU, in the dtype that they are stored in.

    Files are safetensors, NumPy's npz, or what `torch.save` wrote, read with `weights_only`, so that they run no code.

    Args:
        where: a file; a folder, as libraries write it (`save_pretrained`, open_clip, timm), or a run or its exported
            encoders; "hub:NAME".
        modality: whose encoder is meant, where a run has several.

    Raises:
        RecipeError: when there are none, or they cannot be read.
    """
    path = folder_of(where)
    try:
        weights = _of_folder(path, modality) if path.is_dir() else _of_file(path)
    except (OSError, ValueError, KeyError, SafetensorError, EOFError) as error:
        raise RecipeError(f"The weights {path} cannot be read: {' '.join(str(error).split()) or 'damaged'}.") from error
    if not weights:
        raise RecipeError(f"The weights {path} hold no tensors: name the file of a model.")
    return weights


def _of_folder(folder: Path, modality: str | None) -> dict[str, Tensor]:
    if (folder / "recipe.yaml").exists():
        return _of_run(folder, modality)
    if (folder / "encoders.json").exists():
        return _of_file(
            folder / f"{_chosen([file.stem for file in folder.glob('*.safetensors')], modality, folder)}.safetensors"
        )
    for name in OF_FOLDER:
        if (file := folder / name).exists():
            return _of_shards(file) if file.suffix == ".json" else _of_file(file)
    files = [file for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES]
    if len(files) == 1:
        return _of_file(files[0])
    found = f"it has {', '.join(file.name for file in files)}" if files else "it has none"
    raise RecipeError(f"The folder {folder} does not say which file has its weights ({found}): name the file.")


def _of_shards(index: Path) -> dict[str, Tensor]:
    files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    return {name: tensor for file in files for name, tensor in _of_file(index.parent / file).items()}


def _of_run(folder: Path, modality: str | None) -> dict[str, Tensor]:
    """Return the weights of an encoder of a run: of its model when it is finished, else of its latest checkpoint."""
    run = Run.open(folder)
    finished = folder / "model" / "model.safetensors"
    if finished.exists():
        learner: Mapping[str, Tensor] = load_file(finished)
    else:
        checkpoint = Checkpoints(run.checkpoints, 1).latest()
        if checkpoint is None:
            raise RecipeError(f"The run {folder} has neither a model nor a readable checkpoint.")
        learner = checkpoint.weights()
    prefix = "encoders."
    names = sorted({name.removeprefix(prefix).partition(".")[0] for name in learner if name.startswith(prefix)})
    prefix += f"{_chosen(names, modality, folder)}."
    return {name.removeprefix(prefix): tensor for name, tensor in learner.items() if name.startswith(prefix)}


def _chosen(names: list[str], modality: str | None, folder: Path) -> str:
    if modality in names:
        return str(modality)
    if len(names) == 1:
        return names[0]
    raise RecipeError(f"{folder} has encoders of {', '.join(sorted(names))}, but none of '{modality}'.")


def _of_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    try:
        with torch.serialization.safe_globals([Namespace]):  # of a training script's arguments: it runs nothing
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # UnpicklingError, RuntimeError of zip files, ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RecipeError(
            f"The weights {path} cannot be read without running the code in them ({reason.rstrip('.')}): store the "
            "state_dict alone, best as safetensors."
        ) from error
    return _unwrapped(stored, path)


def _unwrapped(stored: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, out of what a training script keeps them in."""
    while isinstance(stored, Mapping):
        tensors = {str(name): value for name, value in stored.items() if isinstance(value, Tensor)}
        inner = next((stored[name] for name in WRAPPED if isinstance(stored.get(name), Mapping)), None)
        if inner is None:
            return tensors
        stored = inner
    raise RecipeError(
        f"The weights {path} hold {type(stored).__name__}, no state_dict: store one, best as safetensors."
    )
