"""Vision transformers of timm as token encoders."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer, beit
from torch import Tensor, nn

from sensorium import Features, LayerStack, SensoriumError, TokenEncoder, Tokens, at_least_one_row
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.modalities.image.encoders.timm_families import PatchTokens, additive_mask, family_of, no_own_bias
from sensorium.modalities.image.encoders.vit import positions_on
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import pixel_targets

OF_UPSTREAM = {"dinov3": "token"}
"""Part of a model's name -> how its authors pool, where timm pools otherwise."""


class TimmTokens(Timm, TokenEncoder):
    """A vision transformer of timm whose patches are tokens: what `timm` makes of such a model; options as there."""

    lacks = ("mask_token",)

    def __init__(self, modality: ImageModality, model: str, **options: Any) -> None:
        super().__init__(modality, model, **options)
        family = family_of(type(self.model))
        assert family is not None, "variant chose this class"
        self.family = family
        self.prefix = int(self.model.num_prefix_tokens)
        self.patch = family.patch(self.model)
        self.grid = self._grid_of(*modality.size)
        self.target_dim = self.patch[0] * self.patch[1] * modality.channels
        self.pool: str = self._pooling(self.pool, model)
        if self.pool not in ("map", "prr"):
            self.model.attn_pool = None
        self.adds_positions = family.positions(self.model, self.grid) is not None
        self.register_buffer("mask_token", torch.zeros(self.dim))
        prepare(self.model)

    def _grid_of(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.patch
        if height % rows or width % columns:
            raise SensoriumError(
                f"Patches of {rows}x{columns} pixels of the model '{self.name}' do not tile images of "
                f"{height}x{width}: set the size of the modality, or of the views."
            )
        return height // rows, width // columns

    def _pooling(self, pool: str, name: str) -> str:
        """Return how to pool, checked against what the model has; `auto` resolved."""
        own = getattr(self.model, "global_pool", "") or ("token" if self._has_class_token() else "avg")
        upstream = next((how for part, how in OF_UPSTREAM.items() if part in name), own)
        if pool == "auto":
            if getattr(self.model, "dist_token", None) is not None:
                return "distilled"
            return {"avg": "mean"}.get(upstream, upstream)
        if pool == "token" and not self._has_class_token():
            raise SensoriumError(f"The model '{name}' has no class token: set pool to mean or auto.")
        if pool == "map" and getattr(self.model, "attn_pool", None) is None:
            raise SensoriumError(f"The model '{name}' has no attention pooling: set pool to token, mean or auto.")
        return pool

    def _has_class_token(self) -> bool:
        return getattr(getattr(self.model, "embeds", self.model), "cls_token", None) is not None

    def train(self, mode: bool = True) -> TimmTokens:
        """Set the training mode; rotary angles are never augmented, so that student and teacher see one geometry."""
        super().train(mode)
        if getattr(self.model, "rope", None) is not None:
            self.model.rope.eval()
        return self

    def forward(self, batch: ImageBatch) -> Features:
        """Encode every patch."""
        return self.encode_tokens(self.tokenize(batch))

    def tokenize(self, batch: ImageBatch) -> PatchTokens:
        """Split images into patches and embed them to (B, T, D); images of another size have a grid of their own."""
        grid = self._grid_of(*batch.pixels.shape[-2:])
        x_BTD = self.family.embed(self.model, self.normalize(batch))
        positions = self.family.positions(self.model, grid)
        if positions is None:  # nothing is added: these are for decoders
            positions = positions_on(x_BTD.device, grid, self.grid, self.dim).to(x_BTD.dtype)
        return PatchTokens(x_BTD, positions, grid=grid)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K), each under its own position."""
        assert isinstance(tokens, PatchTokens), "tokens are what tokenize made"
        if keep is not None:
            place = torch.arange(tokens.x.shape[1], device=keep.device)[None] if tokens.place is None else tokens.place
            tokens = replace(tokens, place=place).take(keep)
        rows = len(tokens.x)
        tokens = tokens if rows else _one_row(tokens)  # layers of Eva and BEiT refuse a batch of no rows
        x_BND = tokens.x + tokens.positions if self.adds_positions else tokens.x
        prefix_1PD = self.family.prefix(self.model)
        if prefix_1PD is not None:
            x_BND = torch.cat([prefix_1PD.expand(len(x_BND), -1, -1), x_BND], dim=1)
        mask_B11N = None if tokens.mask is None else additive_mask(tokens.mask, self.prefix, x_BND.dtype)
        x_BND = self.family.before_blocks(self.model, x_BND)
        x_BND = self.model.norm(self.family.blocks(self.model, x_BND, tokens, mask_B11N))
        pooled_BD = self._pooled(x_BND, tokens.mask)
        mask_BT = None if tokens.mask is None else tokens.mask[:rows]
        return Features(pooled_BD[:rows], x_BND[:rows, self.prefix :], mask_BT)

    def _pooled(self, x_BND: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Return pooled features (B, D) in fp32, behind the norm that some families have after pooling."""
        model, first = self.model, 0 if self.family.pools_prefix(self.model, self.pool) else self.prefix
        if self.pool in ("map", "prr"):
            mask = None if mask_BT is None else additive_mask(mask_BT, self.prefix - first, x_BND.dtype)
            options = {} if mask is None else {"attn_mask": mask}
            pooled_BD = model.attn_pool(x_BND[:, first:], **options)
        elif self.pool == "token":
            pooled_BD = at_least_fp32(x_BND[:, 0])
        elif self.pool == "distilled":
            pooled_BD = at_least_fp32(x_BND[:, :2]).mean(1)
        else:
            seen_BT = None if mask_BT is None else F.pad(mask_BT, (self.prefix - first, 0), value=True)
            pooled_BD = _reduced(at_least_fp32(x_BND[:, first:]), seen_BT, self.pool)
        return at_least_fp32(
            pooled_BD if isinstance(model.fc_norm, nn.Identity) else model.fc_norm(pooled_BD.to(x_BND))
        )

    def _pooling_arguments(self) -> dict[str, Any]:
        own = getattr(self.model, "global_pool", None)
        pool = {"mean": "avg"}.get(self.pool, self.pool)
        if own is None or pool in (own, "distilled"):
            return {}
        # Another pooling would move the final norm behind it, unless timm is told where it is.
        takes_fc_norm = isinstance(self.model, VisionTransformer)
        has_fc_norm = not isinstance(self.model.fc_norm, nn.Identity)
        return {"global_pool": pool} | ({"fc_norm": has_fc_norm} if takes_fc_norm else {})

    def token_targets(self, batch: ImageBatch) -> Tensor:
        """Return the pixels of each patch, float (B, T, P), each patch normalized (He et al. 2022, section 3)."""
        return pixel_targets(self.normalize(batch), self.patch, normalize=True)

    def mask_embedding(self) -> Tensor | None:
        """Return the mask token (D,) that came with the weights; None where there was none."""
        return self.mask_token if bool(self.mask_token.any()) else None

    def layer_stack(self) -> LayerStack:
        """Return the blocks, and the norms and the pooling behind them."""
        names = ("norm", "attn_pool", "fc_norm")
        behind = [getattr(self.model, name, None) for name in names]
        behind = [module for module in behind if module is not None and not isinstance(module, nn.Identity)]
        norms = (module for module in (self.model.norm, self.model.fc_norm) if module in behind)
        return LayerStack(list(self.model.blocks), behind, next(norms, None), self.prefix)


def _one_row(tokens: PatchTokens) -> PatchTokens:
    """Return one row of tokens in place of none, to be cut off again."""
    parts = {name: at_least_one_row(getattr(tokens, name)) for name in ("x", "positions")}
    place = None if tokens.place is None else at_least_one_row(tokens.place)
    return replace(tokens, **parts, place=place, mask=None)


def _reduced(x_BTD: Tensor, seen_BT: Tensor | None, how: str) -> Tensor:
    """Return the mean, the maximum, or the mean of both ("avgmax"), over the tokens that are seen."""
    if seen_BT is None:
        mean_BD, max_BD = x_BTD.mean(1), x_BTD.amax(1)
    else:
        mean_BD = (x_BTD * seen_BT[..., None]).sum(1) / seen_BT.sum(1, keepdim=True).clamp(min=1)
        seen_BT = seen_BT | ~seen_BT.any(1, keepdim=True)
        max_BD = x_BTD.masked_fill(~seen_BT[..., None], -torch.inf).amax(1)
    return {"mean": mean_BD, "max": max_BD, "avgmax": (mean_BD + max_BD) / 2}[how]


def prepare(model: Any) -> None:
    """Let a model take images of several sizes, and its layers what they would otherwise work out by themselves."""
    if hasattr(model, "patch_embed"):
        model.patch_embed.strict_img_size = False
    for layer in model.blocks.modules():
        if getattr(layer, "q_bias", None) is not None:
            layer.qkv_bias_separate = True  # so that qkv is called, and an adapter in its place is, too
        if isinstance(layer, beit.Attention):
            # Blocks are handed the bias of the tokens that are there.
            layer._get_rel_pos_bias = no_own_bias  # type: ignore[method-assign]
