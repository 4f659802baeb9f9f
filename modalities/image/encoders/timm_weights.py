"""Weights of vision models in layouts of the field: timm's own, and those of upstream repositories that timm reads."""

from __future__ import annotations

import contextlib
import copy
import io
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models import adapt_input_conv
from torch import Tensor, nn

from sensorium.errors import RecipeError

EMBEDDING = "patch_embed.proj.weight"
"""Name that marks the vision transformer in a file that holds other parts as well."""
BEST = ("teacher", "ema", "target_encoder", "encoder", "backbone", "student")
"""Parts of the names of such transformers, in the order in which one is chosen where a file has several."""
JAX = "embedding/kernel"
"""Name that marks weights of big_vision and Flax."""
OF_TRANSFORMERS = "embeddings.patch_embeddings"
"""Part of names that marks weights of transformers."""
BIAS_TABLE = "relative_position_bias_table"


def in_timm_layout(model: Any, name: str, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return weights under the names of a model of timm, of its size, and the mask token (D,) that a file has.

    Args:
        model: of timm, whose weights stay as they are.
        name: of the model.
        weights: of timm, or as published by DINOv2, DINOv3, MAE, I-JEPA, BEiT, EVA, CLIP, AIMv2, big_vision.

    Raises:
        RecipeError: when the model has no place for what the weights hold.
    """
    if any(key.endswith(JAX) for key in weights):
        return _of_jax(model, weights), None
    if any(OF_TRANSFORMERS in key for key in weights):
        raise RecipeError(
            "these are weights in the layout of transformers. Take the encoder 'transformers' with their folder as its "
            f"model, or the same weights as timm publishes them for '{name}'."
        )
    found = _unchunked(transformer_of(weights))
    mask_token_D = _mask_token(model, found)
    _check_patch(model, name, found)
    _check_qkv_bias(model, name, found)
    found = _spread_bias_table(model, found)
    convert = getattr(_module_of(name, model), "checkpoint_filter_fn", None)
    if convert is not None:
        options = {"adapt_layer_scale": True} if any(".gamma_" in key for key in found) and _adapts(convert) else {}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it leaves out
            found = convert(dict(found), model, **options)
    return _with_norm_where_it_is(model, _with_channels(model, found)), mask_token_D


def _check_patch(model: Any, name: str, found: Mapping[str, Tensor]) -> None:
    """Raise an error for weights of patches of another size, which timm would resample without a word."""
    own, theirs = (weights.get(EMBEDDING) for weights in (model.state_dict(), found))
    if own is not None and theirs is not None and own.ndim == theirs.ndim == 4 and own.shape[2:] != theirs.shape[2:]:
        sides = ["x".join(map(str, kernel.shape[2:])) for kernel in (theirs, own)]
        raise RecipeError(
            f"these weights have patches of {sides[0]} pixels, and '{name}' has patches of {sides[1]}. Name the model "
            "that they were made for."
        )


def transformer_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the one transformer of a file, without the prefix of its names."""
    prefixes = [key.removesuffix(EMBEDDING) for key in weights if key.endswith(EMBEDDING)]
    if not prefixes or "" in prefixes:
        return dict(weights)
    ranked = [prefix for part in BEST for prefix in prefixes if part in prefix] + prefixes
    return {key.removeprefix(ranked[0]): value for key, value in weights.items() if key.startswith(ranked[0])}


def _unchunked(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights whose blocks are numbered through; trainings of DINOv2 keep them in chunks for FSDP."""
    chunked = re.compile(r"^blocks\.\d+\.(\d+)\.")
    if not any(chunked.match(key) for key in weights):
        return weights
    return {chunked.sub(r"blocks.\1.", key): value for key, value in weights.items()}


def _mask_token(model: Any, weights: dict[str, Tensor]) -> Tensor | None:
    """Return the encoder's mask token, taken out of the weights; that of a decoder (MAE) stays."""
    token = weights.get("mask_token")
    if token is None or token.numel() != model.num_features or "decoder_pos_embed" in weights:
        return None
    return token.flatten().clone()


def _check_qkv_bias(model: Any, name: str, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of DINOv3 with biases of query and value in a model without these, which would drop them."""
    attention = getattr(model.blocks[0], "attn", None) if len(getattr(model, "blocks", ())) else None
    bias = weights.get("blocks.0.attn.qkv.bias")
    if bias is None or "storage_tokens" not in weights or getattr(attention, "q_bias", None) is not None:
        return
    query, _, value = bias.chunk(3)
    if query.any() or value.any():
        raise RecipeError(
            f"these weights have biases of queries and values, which the model '{name}' has not: name "
            f"'{name.partition('.')[0]}_qkvb'."
        )


def _spread_bias_table(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each block the table of relative positions that pretraining of BEiT shared among them."""
    shared = f"rel_pos_bias.{BIAS_TABLE}"
    if shared not in weights or getattr(model, "rel_pos_bias", None) is not None:
        return weights
    rest = {key: value for key, value in weights.items() if key != shared}
    return rest | {f"blocks.{i}.attn.{BIAS_TABLE}": weights[shared] for i in range(len(model.blocks))}


def _module_of(name: str, model: Any) -> Any:
    """Return the module of timm that registers a model, or else that of its class."""
    of_name = sys.modules[timm.models.model_entrypoint(name.partition(".")[0]).__module__]
    return of_name if hasattr(of_name, "checkpoint_filter_fn") else sys.modules[type(model).__module__]


def _adapts(convert: Any) -> bool:
    return "adapt_layer_scale" in convert.__code__.co_varnames


def _with_channels(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights whose first convolution takes the model's channels: summed or repeated, as timm does."""
    first = getattr(model, "pretrained_cfg", {}).get("first_conv") or ()
    for name in (first,) if isinstance(first, str) else first:
        key = f"{name}.weight"
        own = model.get_submodule(name).weight if key in weights else None
        if own is not None and own.ndim == 4 and weights[key].shape[1] == 3 != own.shape[1]:
            weights = {**weights, key: adapt_input_conv(own.shape[1], weights[key])}
    return weights


def _with_norm_where_it_is(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights whose last norm is before or behind pooling, as the model has it."""
    own = {name.partition(".")[0] for name, module in model.named_children() if not isinstance(module, nn.Identity)}
    for theirs, ours in (("norm", "fc_norm"), ("fc_norm", "norm")):
        if theirs not in own and ours in own and f"{theirs}.weight" in weights and f"{ours}.weight" not in weights:
            moved = {key: key.replace(f"{theirs}.", f"{ours}.", 1) for key in weights if key.startswith(f"{theirs}.")}
            weights = {moved.get(key, key): value for key, value in weights.items()}
    return weights


def _of_jax(model: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of big_vision, which timm reads from a file alone."""
    import numpy as np

    if not hasattr(model, "load_pretrained"):
        raise RecipeError("these are weights of Flax, for which timm has no layout of this model.")
    filled = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.npz"
        np.savez(file, allow_pickle=False, **{name: tensor.numpy() for name, tensor in weights.items()})
        filled.load_pretrained(str(file))
    return dict(filled.state_dict())
