"""From weights as others name them to those of an encoder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from sensorium.contracts import Encoder
from sensorium.errors import RecipeError
from sensorium.weights.files import read_weights

log = logging.getLogger("sensorium")
NAMED = 8
"""How many names a sentence lists; `run.json` has all."""
WRAPPERS = ("module.", "_orig_mod.", "_forward_module.")
"""Prefixes that DDP, torch.compile and Fabric put before all names."""


@dataclass(frozen=True)
class WeightsReport:
    """What loading weights into an encoder did.

    Args:
        where: the file or folder.
        digest: a hash of names and values as loaded, equal for equal weights in any file.
        loaded: number of tensors that were loaded.
        missing: the encoder's names that the file lacks; these keep their random first values.
        unexpected: names of the file that the encoder has no use for.
    """

    where: str
    digest: str
    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def load_weights(
    encoder: Encoder, where: str | Path, modality: str | None = None, path: str = "weights"
) -> WeightsReport:
    """Load weights of a file or folder into an encoder, under its own names.

    Args:
        encoder: whose `convert_weights` knows layouts of the field; its `lacks` and `ignores` say what may differ.
        where: as `read_weights` takes it.
        modality: whose encoder is meant, where a run has several.
        path: the recipe's key that names them, for errors.

    Raises:
        RecipeError: when they cannot be read, or are those of another architecture: names that are missing or
            unexpected, and tensors of another shape, are listed.
    """
    try:
        found = encoder.convert_weights(_unprefixed(read_weights(where, modality)))
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
    expected = encoder.state_dict()
    found, elsewhere = _part_of_model(found, expected)
    missing, unexpected = _apart(expected, found), _apart(found, expected)
    shapes = [
        f"{name} {_shape(found[name])} instead of {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    faults = {
        "missing": _unmatched(missing, encoder.lacks),
        "unexpected": _unmatched(unexpected, encoder.ignores),
        "of another shape": shapes,
    }
    if any(faults.values()):
        said = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in faults.items() if names]
        raise RecipeError(
            f"{path}: {where} does not fit the encoder {type(encoder).__name__}: of {len(expected)} tensors, "
            f"{', '.join(said)}. Choose the encoder's options as the weights were made."
        )
    fitting = {name: tensor for name, tensor in found.items() if name in expected}
    unexpected += elsewhere
    encoder.load_state_dict(fitting, strict=False)
    log.info("%s: %d tensors are loaded from %s.", path, len(fitting), where)
    for kind, names in (("missing, and random", missing), ("not used", unexpected)):
        if names:
            log.info("%s: %d of the weights of %s are %s: %s.", path, len(names), where, kind, _listed(names))
    return WeightsReport(str(where), digest_of(fitting), len(fitting), tuple(missing), tuple(unexpected))


def _unprefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without the prefixes that wrappers put before every name."""
    named = dict(weights)
    while prefix := next((p for p in WRAPPERS if named and all(name.startswith(p) for name in named)), None):
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return named


def _part_of_model(found: dict[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of the part of a model that the encoder is, and the names of the model's other parts.

    If no name is the encoder's own, that part is the one whose names are, behind a prefix such as `backbone.`.
    """
    if any(name in expected for name in found):
        return found, []
    prefixes = Counter(
        name[: index + 1]
        for name in found
        for index, letter in enumerate(name)
        if letter == "." and name[index + 1 :] in expected
    )
    if not prefixes:
        return found, []
    ((prefix, _),) = prefixes.most_common(1)
    inside = {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}
    return inside, [name for name in found if not name.startswith(prefix)]


def _apart(names: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> list[str]:
    return [name for name in names if name not in others]


def _unmatched(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """Return a hash of names and values, equal for equal weights in any file."""
    digest = blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
