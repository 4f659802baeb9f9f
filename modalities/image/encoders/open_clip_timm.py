"""Image towers of open_clip whose trunk is a vision transformer of timm, as token encoders: SigLIP, EVA-CLIP, PE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import Features, LayerStack, SensoriumError, TokenEncoder, Tokens, at_least_one_row
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.open_clip_image import OpenClipImage
from sensorium.modalities.image.encoders.timm_families import PatchTokens, ViTFamily, additive_mask, family_of
from sensorium.modalities.image.encoders.timm_models import class_of
from sensorium.modalities.image.encoders.timm_tokens import prepare
from sensorium.modalities.image.encoders.timm_weights import in_timm_layout
from sensorium.modalities.image.encoders.vit import positions_on
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import pixel_targets

TRUNK = "visual.trunk."
POOLS = ("token", "map", "avg")
"""Ways of pooling, as timm names them, that are the same for a subset of tokens."""


def has_tokens(vision: Mapping[str, Any]) -> bool:
    """Return whether the trunk of an image tower is a vision transformer whose patches can be tokens."""
    return family_of(class_of(vision["timm_model_name"])) is not None and vision.get("timm_pool") in (*POOLS, "")


class OpenClipTimmTower(OpenClipImage, TokenEncoder):
    """Tower of open_clip around a vision transformer of timm, with tokens; see `OpenClipImage`. W is their width."""

    def __init__(
        self,
        modality: ImageModality,
        model: str = "ViT-B-16-SigLIP",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        normalize_targets: bool = True,
    ) -> None:
        super().__init__(modality, model, mean, std, normalize_targets)
        trunk = self.visual.trunk
        family = family_of(type(trunk))
        assert family is not None, "variant chose this class"
        self.family: ViTFamily = family
        self.prefix = int(trunk.num_prefix_tokens)
        self.patch = family.patch(trunk)
        self.grid = self._grid_of(*modality.size)
        self.target_dim = 3 * self.patch[0] * self.patch[1]
        self.adds_positions = family.positions(trunk, self.grid) is not None
        prepare(trunk)

    @property
    def token_dim(self) -> int:
        """Width of its tokens, before the projection."""
        return int(self.visual.trunk.num_features)

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a whole model or a tower, with positions of the grid here."""
        found = super().convert_weights(weights)
        inside = {name.removeprefix(TRUNK): found.pop(name) for name in list(found) if name.startswith(TRUNK)}
        converted, _ = in_timm_layout(self.visual.trunk, self.config["vision_cfg"]["timm_model_name"], inside)
        return found | {TRUNK + name: tensor for name, tensor in converted.items()}

    def _grid_of(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.patch
        if height % rows or width % columns:
            raise SensoriumError(
                f"Patches of {rows}x{columns} pixels of the model '{self.model}' do not tile images of "
                f"{height}x{width}: set the size of the modality, or of the views."
            )
        return height // rows, width // columns

    def tokenize(self, batch: ImageBatch) -> PatchTokens:
        """Split images into patches and embed them to (B, T, W); images of another size have a grid of their own."""
        grid = self._grid_of(*batch.pixels.shape[-2:])
        x_BTW = self.family.embed(self.visual.trunk, self.normalize(batch))
        positions = self.family.positions(self.visual.trunk, grid)
        if positions is None:  # nothing is added: these are for decoders
            positions = positions_on(x_BTW.device, grid, self.grid, self.token_dim).to(x_BTW.dtype)
        return PatchTokens(x_BTW, positions, grid=grid)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K), each under its own position."""
        assert isinstance(tokens, PatchTokens), "tokens are what tokenize made"
        if keep is not None:
            tokens = replace(tokens, place=torch.arange(tokens.x.shape[1], device=keep.device)[None]).take(keep)
        rows, trunk = len(tokens.x), self.visual.trunk
        filled = replace(
            tokens,
            x=at_least_one_row(tokens.x),
            positions=at_least_one_row(tokens.positions),
            place=None if tokens.place is None else at_least_one_row(tokens.place),
        )
        x_BNW = filled.x + filled.positions if self.adds_positions else filled.x
        if (prefix_1PW := self.family.prefix(trunk)) is not None:
            x_BNW = torch.cat([prefix_1PW.expand(len(x_BNW), -1, -1), x_BNW], dim=1)
        mask_BT = None if tokens.mask is None else at_least_one_row(tokens.mask)
        mask_B11N = None if mask_BT is None else additive_mask(mask_BT, self.prefix, x_BNW.dtype)
        x_BNW = self.family.before_blocks(trunk, x_BNW)
        x_BNW = trunk.norm(self.family.blocks(trunk, x_BNW, filled, mask_B11N))
        pooled_BE = self.visual.head(self._pooled(x_BNW, mask_BT))
        return Features(pooled_BE[:rows], x_BNW[:rows, self.prefix :], tokens.mask)

    def _pooled(self, x_BNW: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Return what the trunk's head makes of tokens."""
        trunk = self.visual.trunk
        if mask_BT is None or trunk.global_pool == "token":
            return trunk.forward_head(x_BNW)  # type: ignore[no-any-return]
        first = 0 if self.family.pools_prefix(trunk, trunk.global_pool) else self.prefix
        mask_B11N = additive_mask(mask_BT, self.prefix - first, x_BNW.dtype)
        if trunk.global_pool == "map":
            pooled_BW = trunk.attn_pool(x_BNW[:, first:], attn_mask=mask_B11N)
        else:
            weight_BN1 = mask_B11N[:, 0, 0, :, None].exp()
            pooled_BW = (x_BNW[:, first:] * weight_BN1).sum(1) / weight_BN1.sum(1)
        return trunk.head(trunk.head_drop(trunk.fc_norm(pooled_BW)))  # type: ignore[no-any-return]

    def forward(self, batch: ImageBatch) -> Features:
        """Encode images to features."""
        return TokenEncoder.forward(self, batch)

    def token_targets(self, batch: ImageBatch) -> Tensor:
        """Return the pixels of each patch, float (B, T, P): C x height x width, each patch normalized by default."""
        return pixel_targets(self.normalize(batch), self.patch, self.normalize_targets)

    def layer_stack(self) -> LayerStack:
        """Return its blocks; behind them lie norms, pooling and the projection."""
        trunk = self.visual.trunk
        parts = [getattr(trunk, name, None) for name in ("norm", "attn_pool", "fc_norm", "head")]
        used = [part for part in [*parts, self.visual.head] if part is not None and not isinstance(part, nn.Identity)]
        behind = [part for part in used if any(True for _ in part.parameters())]
        norm = None if isinstance(trunk.norm, nn.Identity) else trunk.norm
        return LayerStack(list(trunk.blocks), behind, norm, self.prefix)
