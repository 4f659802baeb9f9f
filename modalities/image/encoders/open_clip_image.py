"""Image towers of open_clip."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.convert import convert_state_dict
from open_clip.model import _build_vision_tower
from torch import Tensor, nn

from sensorium import Encoder, Features, LayerStack, SensoriumError, TokenEncoder, Tokens, at_least_one_row
from sensorium.errors import RecipeError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import Normalize, check_normalization
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import pixel_targets
from sensorium.modalities.open_clip import (
    HUB,
    LOCAL,
    OTHER_PARTS,
    check_layout,
    configuration,
    folder,
    merge_projection,
    preprocessings,
    quiet,
    tower_weights,
    weights_of,
)

log = logging.getLogger("sensorium")
RESIZE_MODES = {"crop": "shortest", "pad": "longest", "stretch": "squash"}
"""How the modality brings images to its size -> open_clip's word for it."""
OF_TEXT = ("text.*", "transformer.*", "token_embedding.*", "positional_embedding", "cls_emb", "attn_mask")
"""Weights of a whole model's text tower."""


class OpenClipImage(Encoder):
    """Image tower of any open_clip architecture (Radford et al. 2021; Ilharco et al. 2021), projection included.

    Its weights are random until the tower's `weights` load a file of open_clip or OpenAI, of the whole model or of the
    tower; a folder brings its own. It is built for the modality's size, to which the position embeddings of weights are
    interpolated. Of a vision transformer, tokens are patches behind its last norm, before the projection: they are
    `token_dim` wide. Objectives drop patches themselves, so an architecture's own patch dropout is off.

    Args:
        modality: the image modality, of three channels.
        model: name of the architecture in open_clip, such as ViT-B-32 or RN50, with -quickgelu for weights of OpenAI;
            or local-dir:PATH, a folder with a configuration and weights, as open_clip and `sensorium export --format
            open-clip` write it; or hub:NAME, such a folder, which is downloaded.
        mean: per-channel mean of pixels in [0, 1]; default that of the architecture's weights.
        std: per-channel standard deviation; likewise.
        normalize_targets: normalize the pixels of each target patch to mean 0, variance 1 (He et al. 2022, section 3).
    """

    libraries = ("open_clip",)
    ignores = (*OTHER_PARTS, *OF_TEXT, "ln_final.*", "text_projection*")

    def __init__(
        self,
        modality: ImageModality,
        model: str = "ViT-B-32",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        normalize_targets: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.config = model, configuration(model)
        if modality.channels != 3:
            raise SensoriumError(
                f"open_clip models take 3 channels, the modality 'image' has {modality.channels}: set channels to 3."
            )
        self.visual: Any = _tower(model, self.config, modality.size)
        self._options, self._ways = {"mean": mean, "std": std}, preprocessings(model)
        self.mean, self.std, self.size = mean or self._ways[0]["mean"], std or self._ways[0]["std"], modality.size
        self.normalize = Normalize(3, self.mean, self.std)
        self.normalize_targets = normalize_targets
        self._resize_mode, self._fill = RESIZE_MODES[modality.fit_to_size], list(modality.background)
        self.dim = self.config["embed_dim"]

    @classmethod
    def variant(cls, options: Mapping[str, Any]) -> type[Encoder]:
        """Return the class of vision transformers, which have tokens, of open_clip's own or of timm's."""
        from sensorium.modalities.image.encoders.open_clip_timm import OpenClipTimmTower, has_tokens

        vision = configuration(options.get("model", "ViT-B-32"))["vision_cfg"]
        if "timm_model_name" in vision:
            return OpenClipTimmTower if has_tokens(vision) else cls
        return OpenClipVisionTransformer if isinstance(vision.get("layers", 12), int) else cls

    @property
    def own_weights(self) -> str | None:
        """The file of weights in the folder that `model` names."""
        return weights_of(self.model)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a whole model or a tower, of open_clip or OpenAI, with positions of the grid here."""
        own = self.state_dict()
        if weights.keys() == own.keys():
            return dict(weights)
        check_layout(self.model, bool(self.config.get("quick_gelu")), weights)
        way = next((way for way in self._ways if list(way["mean"]) == list(self.mean)), self._ways[0])
        check_normalization(f"the weights of '{self.model}'", self._options, way)
        if all(way["resize_mode"] == "squash" for way in self._ways) and self._resize_mode != "squash":
            log.info("The weights of '%s' were trained on images stretched to a square: set fit: stretch.", self.model)
        found = convert_state_dict(self, dict(weights))  # type: ignore[arg-type] # of MobileCLIP; it reads `visual`
        found = tower_weights(found, "visual.", list(self.visual.state_dict()))
        for name in ("visual.positional_embedding", "visual.attnpool.positional_embedding"):
            if name in found and name in own and found[name].shape[1:] == own[name].shape[1:]:
                found[name] = _resized(found[name], self._position_grid)
        return found

    @property
    def _position_grid(self) -> tuple[int, int]:
        """Rows and columns of positions: of patches, or of the last feature map of a ResNet."""
        height, width = self.size
        grid: tuple[int, int] = getattr(self.visual, "grid_size", None) or (height // 32, width // 32)
        return grid

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        return Features(self.visual(at_least_one_row(self.normalize(batch)))[: len(batch)])

    def tower_of(self, library: str, head_ED: Tensor) -> dict[str, Any]:
        """Return the vision side of an open_clip model, with a linear map (E, D) merged into the tower's projection."""
        height, width = self.size
        size = height if height == width else [height, width]
        vision = {**self.config["vision_cfg"], "image_size": size}
        if "timm_model_name" in vision:
            vision["timm_model_pretrained"] = False
        return {
            "side": "vision",
            "width": head_ED.shape[1],
            "config": vision,
            "quick_gelu": bool(self.config.get("quick_gelu", False)),
            "weights": merge_projection(self.visual, ("proj", "attnpool.c_proj", "head.proj"), head_ED),
            "preprocess": {
                "size": size,
                "mode": "RGB",
                "mean": list(self.mean),
                "std": list(self.std),
                "interpolation": "bilinear",
                "resize_mode": self._resize_mode,
                **({"fill_color": self._fill} if self._resize_mode == "longest" else {}),
            },
        }


class OpenClipVisionTransformer(OpenClipImage, TokenEncoder):
    """Vision transformer of open_clip with its tokens; see `OpenClipImage`. W is the width of its tokens."""

    def __init__(
        self,
        modality: ImageModality,
        model: str = "ViT-B-32",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        normalize_targets: bool = True,
    ) -> None:
        super().__init__(modality, model, mean, std, normalize_targets)
        if self.visual.pool_type == "none":
            raise RecipeError(
                f"The image tower of '{model}' returns no pooled features: set its pool_type to tok or avg."
            )
        self.visual.patch_dropout = nn.Identity()
        self.grid = self.visual.grid_size
        height, width = self.visual.patch_size
        self.target_dim = 3 * height * width

    @property
    def token_dim(self) -> int:
        """Width of its tokens, before the projection."""
        return int(self.visual.conv1.out_channels)

    def tokenize(self, batch: ImageBatch) -> Tokens:
        """Split images into patches and embed them to (B, T, W)."""
        map_BWHW = self.visual.conv1(self.normalize(batch))
        grid = (map_BWHW.shape[2], map_BWHW.shape[3])
        positions = self.visual.positional_embedding
        if grid != self.grid:
            positions = _resized(positions, grid, self.grid)
        return Tokens(map_BWHW.flatten(2).transpose(1, 2), positions[None, 1:])

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        visual, count = self.visual, len(tokens.x)
        x_BTW = at_least_one_row(tokens.x + tokens.positions)
        class_W = visual.class_embedding + visual.positional_embedding[0]
        x_BTW = torch.cat([class_W.expand(len(x_BTW), 1, -1), x_BTW], dim=1)
        x_BTW = visual.transformer(visual.ln_pre(x_BTW), attn_mask=self._mask(tokens.mask))
        pooled_BW, tokens_BTW = self._pool(x_BTW, tokens.mask)
        return Features((pooled_BW @ visual.proj)[:count], tokens_BTW[:count], tokens.mask)

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        return TokenEncoder.forward(self, batch)

    def token_targets(self, batch: ImageBatch) -> Tensor:
        """Return the pixels of each patch, float (B, T, P): C x height x width, each patch normalized by default."""
        return pixel_targets(self.normalize(batch), self.visual.patch_size, self.normalize_targets)

    def _mask(self, valid_BT: Tensor | None) -> Tensor | None:
        """Return which tokens attend to which, (B x heads, 1 + T, 1 + T), 0 or -inf; None where all are valid."""
        if valid_BT is None:
            return None
        valid_BT = F.pad(at_least_one_row(valid_BT), (1, 0), value=True)
        mask_BT = torch.zeros_like(valid_BT, dtype=torch.float32).masked_fill(~valid_BT, -torch.inf)
        heads = self.visual.transformer.resblocks[0].attn.num_heads
        return mask_BT[:, None].expand(-1, valid_BT.shape[1], -1).repeat_interleave(heads, dim=0)

    def _pool(self, x_BTW: Tensor, valid_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return pooled features, before the projection, and tokens, of what the last block returned."""
        visual = self.visual
        if visual.attn_pool is None and visual.final_ln_after_pool:
            return visual.ln_post(self._one_of(x_BTW, valid_BT)), x_BTW[:, 1:]
        if visual.attn_pool is None:
            x_BTW = visual.ln_post(x_BTW)
            return self._one_of(x_BTW, valid_BT), x_BTW[:, 1:]
        keys_BTW = visual.attn_pool.ln_k(x_BTW)
        queries = visual.attn_pool.ln_q(visual.attn_pool.query).expand(len(keys_BTW), -1, -1)
        padding_BT = None if valid_BT is None else ~F.pad(at_least_one_row(valid_BT), (1, 0), value=True)
        pooled_BQE, _ = visual.attn_pool.attn(queries, keys_BTW, keys_BTW, padding_BT, need_weights=False)
        return self._one_of(visual.ln_post(pooled_BQE), None), keys_BTW[:, 1:]

    def _one_of(self, x_BTW: Tensor, valid_BT: Tensor | None) -> Tensor:
        """Return the class token, or the mean of the others."""
        if self.visual.pool_type == "tok":
            return x_BTW[:, 0]
        if valid_BT is None:
            return x_BTW[:, 1:].mean(dim=1)
        weight_BT1 = at_least_one_row(valid_BT)[..., None].to(x_BTW.dtype)
        return (x_BTW[:, 1:] * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)

    def layer_stack(self) -> LayerStack:
        """Return its blocks; behind them lie the last norm, a pooler and the projection."""
        visual = self.visual
        pooler = [] if visual.attn_pool is None else [visual.attn_pool]
        norm = visual.ln_post if visual.attn_pool is None else visual.attn_pool.ln_k
        return LayerStack(list(visual.transformer.resblocks), [*pooler, visual.ln_post, visual.proj], norm, prefix=1)


def _tower(model: str, config: Mapping[str, Any], size: tuple[int, int]) -> nn.Module:
    """Return the image tower of an architecture for images of a size, with random weights."""
    height, width = size
    side = height if height == width else size  # its ResNets take square images only
    try:
        if "hf_model_name" in config["text_cfg"]:  # a whole model would look for its text tower on a hub
            vision = {**config["vision_cfg"], "image_size": side, "timm_model_pretrained": False}
            return _build_vision_tower(config["embed_dim"], vision, config.get("quick_gelu", False))  # type: ignore[arg-type]
        # open_clip has no public way to build one tower; the text tower is dropped at once.
        named = f"{LOCAL}{folder(model)}" if model.startswith(HUB) else model
        with quiet():
            return open_clip.create_model(named, load_weights=False, force_image_size=side).visual  # type: ignore[no-any-return]
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise SensoriumError(
            f"The model '{model}' cannot be built for {height}x{width} pixels: {error or 'no fit'}."
        ) from error


def _resized(positions_TW: Tensor, grid: tuple[int, int], old: tuple[int, int] | None = None) -> Tensor:
    """Return position embeddings (1 + T, W) of a class token and a grid, interpolated to another grid.

    Args:
        positions_TW: those of the class token first.
        grid: the rows and columns wanted.
        old: those that are there; None for a square grid.
    """
    side = round((len(positions_TW) - 1) ** 0.5)
    old = old or (side, side)
    if old == grid or old[0] * old[1] != len(positions_TW) - 1:
        return positions_TW
    map_WHW = positions_TW[1:].float().unflatten(0, old).permute(2, 0, 1)
    resized = F.interpolate(map_WHW[None], size=grid, mode="bicubic", antialias=True, align_corners=False)[0]
    return torch.cat([positions_TW[:1], resized.flatten(1).T.to(positions_TW.dtype)])
