"""Files with one graph: a mapping of arrays by PyTorch Geometric's names, as JSON, NumPy's .npz or torch's .pt."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium import BadSample


def read_file(path: Path) -> Mapping[str, Any]:
    """Return what a file has; no file can run code.

    Raises:
        BadSample: when there is no such file, it is damaged, or has something else than a mapping of arrays.
    """
    if not os.path.isfile(path):  # False, too, for a text that is too long for a name
        raise BadSample(f"there is no file {path}", "missing")
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise BadSample(f"the file {path} ends in none of {', '.join(READERS)}", "unsupported")
    try:
        found = read(path)
    except OSError as error:
        raise BadSample(f"the file {path} cannot be read: {error.strerror or error}", "missing") from error
    except pickle.UnpicklingError as error:
        raise BadSample(
            f"the file {path} has Python objects, which may run code: save a dict of tensors, as data.to_dict() is",
            "unsupported",
        ) from error
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise BadSample(
            f"the file {path} is damaged: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    if not isinstance(found, Mapping):
        raise BadSample(f"the file {path} has a {type(found).__name__}, not arrays by their names", "unsupported")
    return found


def read_bytes(data: bytes) -> Mapping[str, Any]:
    """Return what the bytes of such a file have; no bytes can run code.

    Raises:
        BadSample: as `read_file`.
    """
    try:
        if not data.startswith(ZIP):
            found = json.loads(data)
        elif b"data.pkl" in data[:256]:
            found = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
        else:
            with np.load(BytesIO(data), allow_pickle=False) as archive:
                found = dict(archive)
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise BadSample("the bytes are no file of a graph: JSON, .npz or .pt with arrays by their names") from error
    if not isinstance(found, Mapping):
        raise BadSample(f"the bytes have a {type(found).__name__}, not arrays by their names", "unsupported")
    return found


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _pt(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


ZIP = b"PK"
"""How .npz and .pt begin."""
READERS: dict[str, Callable[[Path], Any]] = {".json": _json, ".npz": _npz, ".pt": _pt}
"""File extension -> what reads it."""
