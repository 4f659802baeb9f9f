"""Weights of plain vision transformers as MAE and timm name them, for the `vit` of ours, whose positions are fixed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sensorium.errors import RecipeError
from sensorium.modalities.image.encoders.timm_weights import EMBEDDING, transformer_of

OURS = {"patch_embed.": "embed.", "cls_token": "cls"}
"""Beginnings of names there and here; all others are the same."""
OUT = ("embed.proj.", "cls", "norm", "attn.proj.", "mlp.fc2.")
IN = ("attn.qkv.weight", "mlp.fc1.weight")
"""Parts of the names of weights whose rows are channels of tokens, and of those whose columns are."""


def in_vit_layout(weights: Mapping[str, Tensor], positions_1TD: Tensor, has_class_token: bool) -> dict[str, Tensor]:
    """Return weights under the names of `ViT`, in its order of channels.

    MAE's sine-cosine positions have columns in the first half of the channels, those here rows: the halves of every
    weight change places, and with them those of the features.

    Args:
        weights: of timm or MAE; under names of ours, they stay as they are.
        positions_1TD: of the encoder.
        has_class_token: whether it has a class token.

    Raises:
        RecipeError: for learned positions, a class token that the encoder lacks, or another grid.
    """
    found = transformer_of(weights)
    if EMBEDDING not in found:
        return dict(weights)
    if "cls_token" in found and not has_class_token:
        raise RecipeError("these weights have a class token. Set the pool of the encoder 'vit' to cls.")
    turned = _has_turned_positions(found.pop("pos_embed", None), positions_1TD, "cls_token" in found)
    named = {_own_name(name): value for name, value in found.items()}
    return {name: _turned(name, value) for name, value in named.items()} if turned else named


def _has_turned_positions(theirs: Tensor | None, positions_1TD: Tensor, has_class_token: bool) -> bool:
    """Return whether the halves of the positions are the other way round than ours."""
    if theirs is None:
        raise RecipeError(
            "these weights have no positions, and the encoder 'vit' has fixed ones. Take the encoder 'timm', with the "
            "name of their model."
        )
    patches_1TD, (t, d) = theirs[:, int(has_class_token) :], positions_1TD.shape[1:]
    if patches_1TD.shape[2] != d:
        return False  # of another width: its weights are listed as of another shape
    if patches_1TD.shape[1] != t:
        raise RecipeError(
            f"these weights are of {patches_1TD.shape[1]} patches, but the encoder 'vit' has {t}. Set the size of the "
            "modality, or take the encoder 'timm', which interpolates positions."
        )
    for turned in (False, True):
        ours_1TD = positions_1TD.roll(d // 2, dims=2) if turned else positions_1TD
        if torch.allclose(patches_1TD.float(), ours_1TD, atol=1e-3):
            return turned
    raise RecipeError(
        "the positions of these weights are learned, and the encoder 'vit' has fixed ones. Take the encoder 'timm', "
        "with the name of their model, such as vit_small_patch16_224."
    )


def _own_name(name: str) -> str:
    for theirs, ours in OURS.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _turned(name: str, value: Tensor) -> Tensor:
    """Return a weight with the halves of its token channels the other way round."""
    if name == "cls" or any(part in name for part in IN):
        return value.roll(value.shape[-1] // 2, dims=-1)
    if any(part in name for part in OUT):
        return value.roll(len(value) // 2, dims=0)
    return value
