"""Image models of Hugging Face transformers. Letters: B images, T patches, K kept, P prefix tokens, D width."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import Encoder, Features, LayerStack, TokenEncoder, Tokens, at_least_one_row
from sensorium.errors import RecipeError
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import MEAN, STD, Normalize, check_normalization
from sensorium.modalities.image.encoders.timm_families import PatchTokens, additive_mask
from sensorium.modalities.image.encoders.transformers_parts import (
    ROTARY,
    Parts,
    adds_positions,
    embed,
    is_relative,
    new_model,
    patch_of,
    run_pooler,
    surroundings,
    take_apart,
    through,
    without_masking,
)
from sensorium.modalities.image.encoders.vit import positions_on
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import pixel_targets
from sensorium.modalities.transformers_models import convert, has_weights, model_folder, read_config

log = logging.getLogger("sensorium")
Pool = Literal["auto", "token", "mean", "pooler"]


class TransformersImage(Encoder):
    """Any image model of Hugging Face transformers, from a folder: DINOv2, DINOv3, ViT, MAE, SigLIP, CLIP, BEiT.

    It is built from the folder's configuration and starts from its weights, unless the tower names others; of a model
    of images and texts, it is the image part. Vision transformers have tokens: their patches, as the library returns
    them in `last_hidden_state`. Which these are is found out and compared with the library's own pass; other models
    (ResNet, ConvNeXt, Swin) have features. Positions are interpolated to the images' size as the library does, each
    crop on its own grid. Kept tokens come out as of a full pass with all others masked from attention; under relative
    positions (BEiT) such a pass is what is computed, and the library copies the indices of its table to the device in
    every block. MAE's own masking, and DINOv3's random scale of coordinates while training, are off.

    Args:
        modality: the image modality; its channels are the model's.
        model: a folder that `save_pretrained` wrote, with preprocessor_config.json; a name in the local cache; or
            hub:NAME, which is downloaded.
        pool: pooled features: the class "token", the "mean" of the patches, or the model's own "pooler" (attention of
            SigLIP, norms of CLIP and BEiT, the tanh layer of ViT, which files often lack). "auto" is the pooler of
            SigLIP, CLIP and BEiT, else the class token, or the mean where there is none.
        mean: per-channel mean of pixels in [0, 1]; default that of the folder's preprocessing.
        std: per-channel standard deviation; likewise.
        normalize_targets: normalize the pixels of each target patch to mean 0, variance 1 (He et al. 2022, section 3).
    """

    lacks = ("model.embeddings.mask_token",)

    def __init__(
        self,
        modality: ImageModality,
        model: str,
        pool: Pool = "auto",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        normalize_targets: bool = True,
    ) -> None:
        super().__init__()
        self.name, self._folder, self.normalize_targets = model, model_folder(model), normalize_targets
        self._config = image_config(self._folder)
        self.model: Any = new_model(self._config)
        self._class = type(self.model)
        channels = getattr(self._config, "num_channels", 3)
        if channels != modality.channels:
            raise RecipeError(
                f"The model '{model}' takes images of {channels} channels, the modality gives {modality.channels}: set "
                f"channels of the modality to {channels}."
            )
        self._given, self._own = {"mean": mean, "std": std}, read_normalization(self._folder)
        self.normalize = Normalize(channels, mean or self._own.get("mean", MEAN), std or self._own.get("std", STD))
        self._make(modality, pool)

    @classmethod
    def variant(cls, options: Mapping[str, Any]) -> type[Encoder]:
        """Return the class of vision transformers, which have tokens, where the folder has one."""
        parts = take_apart(image_config(model_folder(options["model"])))
        return cls if parts is None else TransformersVisionTransformer

    def _make(self, modality: ImageModality, pool: Pool) -> None:
        """Measure the features of a model without tokens of its own."""
        if pool == "token":
            raise RecipeError(f"The model '{self.name}' has no class token: set pool to mean or auto.")
        self.pool: Pool = pool
        height, width = modality.size
        try:
            with torch.no_grad():
                pixels = torch.zeros(1, modality.channels, height, width)
                self.dim = self.eval()._features(pixels).pooled.shape[1]
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:  # of any code of the library
            raise RecipeError(
                f"The model '{self.name}' cannot encode images of {height}x{width} pixels: set the modality's size "
                f"to the model's ({type(error).__name__}: {str(error).splitlines()[0]})."
            ) from error
        log.info(
            "The model '%s' is no vision transformer that can be taken apart: it has features, no tokens.", self.name
        )
        self.train()

    @property
    def own_weights(self) -> str | None:
        """The folder of the model, where it has weights."""
        return str(self._folder) if has_weights(self._folder) else None

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights in any layout that the library reads; what it has no use for is left out of `ignores`."""
        own = self.state_dict()
        if weights.keys() <= own.keys():
            return dict(weights)
        if self._own:
            check_normalization(f"the weights of '{self.name}'", self._given, self._own)
        elif None in self._given.values():
            raise RecipeError(
                f"The folder of '{self.name}' has no preprocessor_config.json that says how pixels are normalized: set "
                "mean and std of the encoder to what the weights were trained with."
            )
        if "dinov3" in self._config.model_type:
            log.info("Weights of DINOv3, and those trained from them, are under the DINOv3 License, to be passed on.")
        found, heads = convert(self._class, self._config, lambda model: model, weights)
        unused = {f"model.{name}" for name in found if f"model.{name}" not in own and _is_unused(name)}
        self.ignores = (*heads, *unused)
        return {f"model.{name}": tensor for name, tensor in found.items()} | heads

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        features = self._features(at_least_one_row(self.normalize(batch)))
        tokens = None if features.tokens is None else features.tokens[: len(batch)]
        return Features(features.pooled[: len(batch)], tokens)

    def _features(self, pixels_BCHW: Tensor) -> Features:
        made = self.model(pixel_values=pixels_BCHW)
        x = made.last_hidden_state
        tokens_BTD = x.flatten(2).transpose(1, 2) if x.ndim == 4 else x
        pooled = getattr(made, "pooler_output", None)
        if pooled is None or self.pool == "mean":
            pooled = at_least_fp32(tokens_BTD).mean(1)
        pooled_BD = at_least_fp32(pooled.flatten(1))
        return Features(pooled_BD, tokens_BTD if tokens_BTD.shape[2] == pooled_BD.shape[1] else None)


class TransformersVisionTransformer(TransformersImage, TokenEncoder):
    """A vision transformer of transformers with its tokens; see `TransformersImage`."""

    def _make(self, modality: ImageModality, pool: Pool) -> None:
        parts = take_apart(self._config)
        assert parts is not None, "variant chose this class"
        self.parts: Parts = parts
        self.dim = self._config.hidden_size
        self.patch = patch_of(self.model) or (1, 1)
        self.grid = self._grid_of(*modality.size)
        self.target_dim = modality.channels * self.patch[0] * self.patch[1]
        self.pool = self._pooling(pool)
        self.adds_positions, self.is_relative = adds_positions(self.model), is_relative(self.model)
        self._drop_unused()
        self.has_mask_token = False
        self.train()

    def _grid_of(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.patch
        if height % rows or width % columns:
            raise RecipeError(
                f"Patches of {rows}x{columns} pixels of the model '{self.name}' do not tile images of "
                f"{height}x{width}: set the size of the modality, or of the views."
            )
        return height // rows, width // columns

    def _pooling(self, pool: Pool) -> Pool:
        """Return how to pool, checked against what the model has; `auto` resolved."""
        has_pooler = self.parts.pooler is not None
        if pool == "pooler" and not has_pooler:
            raise RecipeError(f"The model '{self.name}' has no pooler: set pool to token, mean or auto.")
        if pool == "token" and not self.parts.prefix:
            raise RecipeError(f"The model '{self.name}' has no class token: set pool to mean or auto.")
        if pool != "auto":
            return pool
        if has_pooler and not hasattr(getattr(self.model, self.parts.pooler or ""), "dense"):
            return "pooler"
        is_mean = not self.parts.prefix or getattr(self._config, "use_mean_pooling", False)
        return "mean" if is_mean else "token"

    def _drop_unused(self) -> None:
        """Drop a pooler that is not used, and keep the mask token, which only objectives use, as no parameter."""
        for name in ("pooler", "head", "post_layernorm"):
            is_used = name == self.parts.norm or (name == self.parts.pooler and self.pool == "pooler")
            if not is_used and getattr(self.model, name, None) is not None:
                setattr(self.model, name, None)
        embeddings = self.model.embeddings
        if getattr(embeddings, "mask_token", None) is not None:
            token = embeddings.mask_token.detach().clone()
            del embeddings.mask_token
            embeddings.register_buffer("mask_token", token)

    def train(self, mode: bool = True) -> TransformersVisionTransformer:
        """Set the training mode; positions are never drawn at random, so that student and teacher see one geometry."""
        super().train(mode)
        self.model.embeddings.eval()
        if (rope := getattr(self.model, ROTARY, None)) is not None:
            rope.eval()
        return self

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights in any layout that the library reads."""
        found = super().convert_weights(weights)
        self.has_mask_token = "model.embeddings.mask_token" in found
        return found

    def tokenize(self, batch: ImageBatch) -> PatchTokens:
        """Split images into patches and embed them to (B, T, D); images of another size have a grid of their own."""
        grid = self._grid_of(*batch.pixels.shape[-2:])
        x_BTD = embed(self.model, self.normalize(batch))
        if self.adds_positions:
            positions = surroundings(self.model, grid)[1]
        else:  # nothing is added: these are for decoders
            positions = positions_on(x_BTD.device, grid, self.grid, self.dim).to(x_BTD.dtype)
        return PatchTokens(x_BTD, positions, grid=grid)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K), each under its own position."""
        assert isinstance(tokens, PatchTokens), "tokens are what tokenize made"
        if keep is None:
            return self._encode(tokens, tokens.mask)
        if not self.is_relative:
            place = torch.arange(tokens.x.shape[1], device=keep.device)[None]
            kept = replace(tokens, place=place).take(keep)
            return self._encode(kept, kept.mask)
        kept_BT = torch.zeros(tokens.x.shape[:2], dtype=torch.bool, device=keep.device).scatter(1, keep, True)
        kept_BT = kept_BT if tokens.mask is None else kept_BT & tokens.mask
        features = self._encode(replace(tokens, x=tokens.x * kept_BT[..., None]), kept_BT)
        mask_BK = None if tokens.mask is None else tokens.mask.gather(1, keep)
        kept_BKD = features.require_tokens("transformers").gather(1, keep[..., None].expand(-1, -1, self.dim))
        return Features(features.pooled, kept_BKD, mask_BK)

    def _encode(self, tokens: PatchTokens, seen_BT: Tensor | None) -> Features:
        """Encode all these tokens, of which those that are seen are attended to and pooled."""
        rows, parts = len(tokens.x), self.parts
        x_BTD = at_least_one_row(tokens.x + tokens.positions if self.adds_positions else tokens.x)
        prefix_1PD = surroundings(self.model, (1, 1))[0]
        x_BND = torch.cat([prefix_1PD.expand(len(x_BTD), -1, -1), x_BTD], dim=1)
        seen_BN = None if seen_BT is None else F.pad(at_least_one_row(seen_BT), (parts.prefix, 0), value=True)
        place = None if tokens.place is None else at_least_one_row(tokens.place)
        mask = None if seen_BN is None else additive_mask(seen_BN, 0, x_BND.dtype)
        x_BND = through(self.model, parts, x_BND, tokens.grid, mask, place)
        x_BND = x_BND if parts.norm is None else getattr(self.model, parts.norm)(x_BND)
        pooled_BD = at_least_fp32(self._pooled(x_BND, seen_BN))
        return Features(pooled_BD[:rows], x_BND[:rows, parts.prefix :], seen_BT)

    def _pooled(self, x_BND: Tensor, seen_BN: Tensor | None) -> Tensor:
        prefix = self.parts.prefix
        if self.pool == "pooler":
            return run_pooler(self.model, self.parts.pooler or "", x_BND, prefix, seen_BN)
        if self.pool == "token":
            return x_BND[:, 0]
        patches_BTD = at_least_fp32(x_BND[:, prefix:])
        if seen_BN is None:
            return patches_BTD.mean(1)
        weight_BT1 = seen_BN[:, prefix:, None].to(patches_BTD.dtype)
        return (patches_BTD * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)

    def forward(self, batch: ImageBatch) -> Features:
        """Encode every patch."""
        return self.encode_tokens(self.tokenize(batch))

    def token_targets(self, batch: ImageBatch) -> Tensor:
        """Return the pixels of each patch, float (B, T, P): C x height x width, each patch normalized by default."""
        return pixel_targets(self.normalize(batch), self.patch, self.normalize_targets)

    def mask_embedding(self) -> Tensor | None:
        """Return the mask token (D,) of DINOv2, DINOv3 and others, as it came with the weights; None without one."""
        return self.model.embeddings.mask_token.flatten() if self.has_mask_token else None

    def layer_stack(self) -> LayerStack:
        """Return the blocks, and the norms and the pooler behind them."""
        names = dict.fromkeys((self.parts.norm, self.parts.pooler if self.pool == "pooler" else None))
        behind = [getattr(self.model, name) for name in names if name is not None]
        norm = None if self.parts.norm is None else getattr(self.model, self.parts.norm)
        return LayerStack(list(self.model.get_submodule(self.parts.layers)), behind, norm, self.parts.prefix)


def image_config(folder: Path) -> Any:
    """Return the configuration of a folder's image model; of a model of images and texts, that of its image part."""
    config = read_config(folder)
    return without_masking(getattr(config, "vision_config", None) or config)


def read_normalization(folder: Path) -> dict[str, list[float]]:
    """Return "mean" and "std" of pixels in [0, 1] as the folder's preprocessing has them; empty where it has none."""
    for name, key in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        try:
            stored = json.loads((folder / name).read_text(encoding="utf-8"))
        except OSError:
            continue
        stored = stored if key is None else stored.get(key, {})
        if stored.get("do_normalize") is False:
            return {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
        if "image_mean" in stored and "image_std" in stored:
            scale = 255 * stored.get("rescale_factor", 1 / 255)
            return {name: [x / scale for x in stored[f"image_{name}"]] for name in ("mean", "std")}
    return {}


def _is_unused(name: str) -> bool:
    """Return whether weights that the model does not have are of a pooler, the norm of a head (BEiT) or a mask."""
    return name.partition(".")[0] in ("pooler", "head", "post_layernorm", "layernorm") or name.endswith(".mask_token")
