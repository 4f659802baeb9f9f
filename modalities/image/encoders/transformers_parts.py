"""How a vision transformer of Hugging Face transformers is taken apart: embedding, blocks, last norm, pooler.

Its modules are found by their kinds and names, and what was found is compared with the library's own pass on a copy of
one block. So families are served that nobody listed, and no other is served wrongly. Letters: B images, T patches, P
prefix tokens (class, distillation and register tokens, in front), N = P + T tokens, D width.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from sensorium.errors import RecipeError
from sensorium.modalities.transformers_models import quiet

BEFORE = ("pre_layrnorm", "pre_layernorm", "ln_pre")
"""Names of a norm between embedding and blocks; the misspelling is CLIP's."""
NORMS = ("layernorm", "post_layernorm", "norm", "layer_norm", "rms_norm", "ln_post")
"""Names of a norm behind the blocks."""
OF_BACKBONES = ("out_features", "out_indices", "stage_names")
"""Options that name layers for detectors, and not all models have."""
ONE_BLOCK = {"num_hidden_layers": 1, "drop_path_rate": 0.0}
ROTARY = "rope_embeddings"
"""The name of a module that returns cosines and sines of rotary positions."""


@dataclass(frozen=True)
class Parts:
    """The modules of a vision transformer, by their names in the model.

    Args:
        layers: its blocks.
        takes: the names of what a block takes; gradient checkpointing hides them behind a `forward` of its own.
        before: the norm in front of them, or None.
        norm: the norm of all tokens behind them, or None.
        pooler: what makes `pooler_output` of them: "pooler" or "head", modules; "post_layernorm", a norm of the class
            token alone; None where the class token itself is returned, or nothing.
        prefix: P.
    """

    layers: str
    takes: frozenset[str]
    before: str | None
    norm: str | None
    pooler: str | None
    prefix: int


def new_model(config: Any) -> Any:
    """Return the model of a configuration in fp32, with random weights.

    Raises:
        RecipeError: when it makes none that takes images.
    """
    try:
        with quiet():
            model = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
            if any("relative_position_bias" in _arguments(layer) for layer in _lists(model, 0)):
                # data2vec adds its bias in place, to which no mask of each record can be added
                model = AutoModel.from_config(config, dtype=torch.float32, attn_implementation="eager")
    except Exception as error:  # of a configuration that makes no model, in any library code
        raise RecipeError(
            f"The configuration of a '{config.model_type}' makes no image model: {type(error).__name__}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if getattr(model, "main_input_name", None) != "pixel_values":
        raise RecipeError(f"The model '{config.model_type}' takes no images: choose an image model of transformers.")
    return model


def take_apart(config: Any) -> Parts | None:
    """Return the parts of a configuration's model; None when it is no vision transformer that can be taken apart."""
    return _taken_apart(json.dumps({**config.to_dict(), "model_type": config.model_type}, sort_keys=True, default=str))


@cache
def _taken_apart(config_json: str) -> Parts | None:
    """Return the parts of a model, found on a copy of one block whose norms and biases are not those of the start."""
    stored = json.loads(config_json)
    if not isinstance(stored.get("num_hidden_layers"), int):
        return None
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        try:
            config = AutoConfig.for_model(
                **{name: stored[name] for name in stored if name not in OF_BACKBONES} | ONE_BLOCK
            )
            model = new_model(config).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.rand_like(parameter))
                return _found(model)
        except (RecipeError, RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError):
            return None  # whatever a stranger's code does with what a vision transformer takes


def _found(model: Any) -> Parts | None:
    lists, patch = list(_lists(model, model.config.num_hidden_layers)), patch_of(model)
    if len(lists) != 1 or patch is None:
        return None
    name = next(name for name, module in model.named_modules() if module is lists[0])
    before = next((name for name in BEFORE if getattr(model, name, None) is not None), None)
    rows, columns = 2, 3
    pixels = torch.rand(2, model.config.num_channels, rows * patch[0], columns * patch[1])
    wanted = library_pass(model, pixels)
    prefix_1PD, positions_1TD = surroundings(model, (rows, columns))
    parts = Parts(name, frozenset(_arguments(lists[0])), before, None, None, prefix_1PD.shape[1])
    embedded_BND = torch.cat([prefix_1PD.expand(2, -1, -1), embed(model, pixels) + positions_1TD], dim=1)
    x_BND = through(model, parts, embedded_BND, (rows, columns))
    if not is_relative(model) and not _is_free_of_order(model, parts, embedded_BND, x_BND, (rows, columns)):
        return None
    norms = [None, *(name for name in NORMS if getattr(model, name, None) is not None)]
    norm = next((n for n in norms if _equal(_normed(model, n, x_BND), wanted.last_hidden_state)), "")
    if norm == "":
        return None
    pooled, x_BND = getattr(wanted, "pooler_output", None), _normed(model, norm, x_BND)
    if pooled is None or _equal(x_BND[:, 0], pooled):
        return replace(parts, norm=norm)
    found = (n for n in ("pooler", "head", "post_layernorm") if getattr(model, n, None) is not None)
    pooler = next((n for n in found if _equal(run_pooler(model, n, x_BND, parts.prefix), pooled)), None)
    return replace(parts, norm=norm, pooler=pooler)


def _is_free_of_order(
    model: Any, parts: Parts, embedded_BND: Tensor, passed_BND: Tensor, grid: tuple[int, int]
) -> bool:
    """Return whether patches in another order come out the same: then a subset of them passes as it is."""
    order = torch.arange(grid[0] * grid[1]).roll(2)
    whole = torch.cat([torch.arange(parts.prefix), parts.prefix + order])
    turned_BND = through(model, parts, embedded_BND[:, whole], grid, place_BT=order.expand(len(embedded_BND), -1))
    return _equal(turned_BND, passed_BND[:, whole])


def _equal(x: Tensor, y: Tensor) -> bool:
    return x.shape == y.shape and torch.allclose(x, y, atol=1e-4, rtol=1e-4)


def _normed(model: Any, norm: str | None, x_BND: Tensor) -> Tensor:
    return x_BND if norm is None else getattr(model, norm)(x_BND)  # type: ignore[no-any-return]


def _lists(model: nn.Module, length: int) -> Iterator[nn.ModuleList]:
    """Iterate over lists of a number of modules, or any number for 0, that lie in no other list."""
    outer: list[str] = []
    for name, module in model.named_modules():
        is_inside = any(name.startswith(f"{one}.") for one in outer)
        if isinstance(module, nn.ModuleList) and len(module) and not is_inside and length in (0, len(module)):
            outer.append(name)
            yield module


def _arguments(modules: nn.ModuleList) -> set[str]:
    return set(inspect.signature(modules[0].forward).parameters)


def _projection(model: Any) -> nn.Module | None:
    """Return the module that embeds the pixels of a patch: the embedding's only convolution, or its linear map."""
    embeddings = getattr(model, "embeddings", None)
    if embeddings is None:
        return None
    convolutions = [module for module in embeddings.modules() if isinstance(module, nn.Conv2d)]
    linear = getattr(embeddings, "patch_embedding", None)
    if not convolutions and isinstance(linear, nn.Linear):
        return linear
    fits = len(convolutions) == 1 and convolutions[0].kernel_size == convolutions[0].stride
    return convolutions[0] if fits else None


def patch_of(model: Any) -> tuple[int, int] | None:
    """Return rows and columns of pixels of a patch; None for a model without patches."""
    projection = _projection(model)
    if isinstance(projection, nn.Conv2d):
        height, width = projection.kernel_size
        return height, width
    side = getattr(model.config, "patch_size", None)
    return None if projection is None or not isinstance(side, int) else (side, side)


def embed(model: Any, pixels_BCHW: Tensor) -> Tensor:
    """Return embedded patches without positions, (B, T, D), row by row."""
    projection: Any = _projection(model)
    if isinstance(projection, nn.Conv2d):
        return projection(pixels_BCHW).flatten(2).transpose(1, 2)
    return projection(_patches(pixels_BCHW, model.config.patch_size))  # type: ignore[no-any-return]


def _patches(pixels_BCHW: Tensor, side: int) -> Tensor:
    """Return the pixels of patches as SigLIP 2 takes them, (B, T, side x side x C)."""
    patches_BCHWpp = pixels_BCHW.unfold(2, side, side).unfold(3, side, side)
    return patches_BCHWpp.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def surroundings(model: Any, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return what the model puts in front of patches, (1, P, D), and what it adds to them on a grid, (1, T, D).

    They are its own embedding of an image of zeros, positions interpolated as it does, less the patches of zeros.
    """
    rows, columns = patch_of(model) or (1, 1)
    weight = next(model.embeddings.parameters())
    pixels = weight.new_zeros(1, model.config.num_channels, grid[0] * rows, grid[1] * columns)
    whole, known = model.embeddings, inspect.signature(model.embeddings.forward).parameters
    if "spatial_shapes" in known:
        embedded = whole(_patches(pixels, model.config.patch_size), torch.tensor([grid]))
    elif "noise" in known:  # of MAE, which drops patches at random: none, in their order
        embedded = whole(pixels, noise=_in_order(1, grid, weight.device), interpolate_pos_encoding=True)
    elif "interpolate_pos_encoding" in known:
        embedded = whole(pixels, interpolate_pos_encoding=True)
    else:
        embedded = whole(pixels)
    x_1ND = embedded if isinstance(embedded, Tensor) else embedded[0]
    patches_1TD = embed(model, pixels)
    prefix = x_1ND.shape[1] - patches_1TD.shape[1]
    return x_1ND[:, :prefix], x_1ND[:, prefix:] - patches_1TD


def _in_order(count: int, grid: tuple[int, int], device: torch.device) -> Tensor:
    return torch.arange(grid[0] * grid[1], device=device, dtype=torch.float32).expand(count, -1)


def adds_positions(model: Any) -> bool:
    """Return whether the model adds positions to embedded patches."""
    return any("pos" in name for name, _ in model.embeddings.named_parameters())


def is_relative(model: Any) -> bool:
    """Return whether attention has a bias for each pair of places on the grid, as in BEiT."""
    return any("relative_position" in name for name, _ in model.named_parameters())


def through(
    model: Any,
    parts: Parts,
    x_BND: Tensor,
    grid: tuple[int, int],
    mask_B11N: Tensor | None = None,
    place_BT: Tensor | None = None,
) -> Tensor:
    """Return tokens behind the last block.

    Args:
        model: the model.
        parts: its parts.
        x_BND: prefix tokens and patches, with what is added to them.
        grid: rows and columns of the image's patches.
        mask_B11N: additive attention mask, -inf at keys that are not seen; None when all are.
        place_BT: int64, index of each patch on the grid; None when all are there, in order.
    """
    x_BND = x_BND if parts.before is None else getattr(model, parts.before)(x_BND)
    layers = model.get_submodule(parts.layers)
    rows, columns = patch_of(model) or (1, 1)
    size, known = (grid[0] * rows, grid[1] * columns), parts.takes
    given: dict[str, Any] = {}
    if (rope := getattr(model, ROTARY, None)) is not None:
        angles = rope(x_BND.new_zeros(1, 1, *size))
        if place_BT is not None:
            angles = tuple(part_Td[place_BT][:, None] for part_Td in angles)
        given["position_embeddings"] = angles
    if "resolution" in known:
        given["resolution"] = size
    mask = _with_shared_bias(model, mask_B11N, grid)
    name = next((name for name in ("attention_mask", "relative_position_bias") if name in known), None)
    if name is not None:
        given[name] = mask
    elif mask is not None:
        raise RecipeError(f"The blocks of a '{model.config.model_type}' take no mask: leave out padding.")
    for layer in layers:
        made = layer(x_BND, **given)
        x_BND = made[0] if isinstance(made, tuple) else made
    return x_BND


def _with_shared_bias(model: Any, mask_B11N: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """Return a mask with the relative bias that all blocks share, where there is one."""
    encoder = getattr(model, "encoder", model)
    bias = getattr(model, "shared_position_bias", None) or getattr(encoder, "relative_position_bias", None)
    if bias is None:
        return mask_B11N
    bias_1AN1N = bias(grid, dim_size=grid[0] * grid[1] + 1)
    return bias_1AN1N if mask_B11N is None else bias_1AN1N + mask_B11N  # type: ignore[no-any-return]


def run_pooler(model: Any, pooler: str, x_BND: Tensor, prefix: int, seen_BN: Tensor | None = None) -> Tensor:
    """Return the pooled features of a model's own pooler, (B, D).

    Args:
        model: the model.
        pooler: its name (see `Parts`).
        x_BND: what the model returns as its last hidden state.
        prefix: P.
        seen_BN: bool, which tokens are there; None for all.
    """
    module: Any = getattr(model, pooler)
    if pooler == "post_layernorm":
        return module(x_BND[:, 0])  # type: ignore[no-any-return]
    if hasattr(module, "probe"):  # attention pooling of SigLIP
        padding_BN = None if seen_BN is None else ~seen_BN & seen_BN.any(1, keepdim=True)
        x_B1D = module.attention(module.probe.expand(len(x_BND), -1, -1), x_BND, x_BND, padding_BN)[0]
        return (x_B1D + module.mlp(module.layernorm(x_B1D)))[:, 0]  # type: ignore[no-any-return]
    if seen_BN is not None and getattr(module, "layernorm", None) is not None:  # of the mean of patches, in BEiT
        weight_BT1 = seen_BN[:, prefix:, None].to(x_BND.dtype)
        mean_BD = (x_BND[:, prefix:] * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)
        return module.layernorm(mean_BD)  # type: ignore[no-any-return]
    return module(x_BND)  # type: ignore[no-any-return]


def library_pass(model: Any, pixels_BCHW: Tensor) -> Any:
    """Return what the library's own pass makes of images, all patches in their order."""
    known = inspect.signature(model.forward).parameters
    height, width = pixels_BCHW.shape[-2:]
    rows, columns = patch_of(model) or (1, 1)
    grid, b = (height // rows, width // columns), len(pixels_BCHW)
    if "spatial_shapes" in known:
        patches = _patches(pixels_BCHW, model.config.patch_size)
        seen = torch.ones(patches.shape[:2], dtype=torch.int64, device=patches.device)
        shapes = torch.tensor([grid]).expand(b, -1)
        return model(pixel_values=patches, pixel_attention_mask=seen, spatial_shapes=shapes)
    given: dict[str, Any] = {"pixel_values": pixels_BCHW}
    if "noise" in known:
        given["noise"] = _in_order(b, grid, pixels_BCHW.device)
    if "interpolate_pos_encoding" in known and not is_relative(model):
        given["interpolate_pos_encoding"] = True
    return model(**given)


def without_masking(config: Any) -> Any:
    """Return a configuration whose model drops no patch by itself: MAE's does in evaluation too."""
    config = copy.deepcopy(config)
    if hasattr(config, "mask_ratio"):
        config.mask_ratio = 0.0
    return config
