"""Families of vision transformers in timm: where positions enter, and how a subset of tokens passes the blocks.

A family holds no weights: it reads those of the model that it is handed. Letters: B images, T patches, P prefix tokens
(class, distillation and register tokens, in front), N = P + T tokens, K kept patches, D width, H rows and W columns of
patches, L blocks, A attention heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models.beit import Beit, gen_relative_position_index
from timm.models.eva import Eva
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from sensorium import Tokens, device_constant

Grid = tuple[int, int]


@dataclass
class PatchTokens(Tokens):
    """Patches of images as tokens, which know where on their grid they lie.

    Args:
        place: int64 (1, T) or (B, T), index of each patch on the grid, row by row; None: all, in order.
        grid: rows and columns of the images' patches.
    """

    place: Tensor | None = None
    grid: Grid = (1, 1)


class ViTFamily:
    """`VisionTransformer`: learned positions (DeiT, DINOv2, SigLIP, MAE, CLIP), or none."""

    def embed(self, model: Any, pixels_BCHW: Tensor) -> Tensor:
        """Return embedded patches without positions, (B, T, D)."""
        x = model.patch_embed(pixels_BCHW)
        return x.flatten(1, 2) if x.ndim == 4 else x

    def patch(self, model: Any) -> Grid:
        """Return rows and columns of pixels of a patch."""
        rows, columns = model.patch_embed.feat_ratio(as_scalar=False)
        return rows, columns

    def positions(self, model: Any, grid: Grid) -> Tensor | None:
        """Return what is added to the patches of a grid, (1, T, D), the model's own, resampled; None for nothing."""
        if getattr(model, "pos_embed", None) is None:
            return None
        own = model.pos_embed[:, self._prefix_positions(model) :]
        return resample_abs_pos_embed(own, list(grid), list(model.patch_embed.grid_size), num_prefix_tokens=0)

    def prefix(self, model: Any) -> Tensor | None:
        """Return class, distillation and register tokens with their positions, (1, P, D); None without any."""
        names = ("cls_token", "dist_token", "reg_token")
        parts = [getattr(model, name) for name in names if getattr(model, name, None) is not None]
        if not parts:
            return None
        x_1PD = torch.cat(parts, dim=1)
        count = self._prefix_positions(model)
        return x_1PD + model.pos_embed[:, :count] if count else x_1PD

    def _prefix_positions(self, model: Any) -> int:
        """Return how many of the model's positions are those of prefix tokens."""
        if getattr(model, "pos_embed", None) is None or getattr(model, "no_embed_class", False):
            return 0
        return int(model.num_prefix_tokens)

    def pools_prefix(self, model: Any, how: str) -> bool:
        """Return whether class and register tokens are pooled with the patches."""
        return bool(getattr(model, "pool_include_prefix", False))

    def before_blocks(self, model: Any, x_BND: Tensor) -> Tensor:
        """Return tokens as the first block takes them."""
        return model.norm_pre(model.pos_drop(x_BND))

    def blocks(self, model: Any, x_BND: Tensor, tokens: PatchTokens, mask_B11N: Tensor | None) -> Tensor:
        """Return tokens after the last block.

        Args:
            model: the model.
            x_BND: prefix tokens and patches.
            tokens: the patches, which know their places.
            mask_B11N: additive attention mask, -inf at keys that are not seen; None when all are.
        """
        for block in model.blocks:
            x_BND = block(x_BND) if mask_B11N is None else block(x_BND, attn_mask=mask_B11N)
        return x_BND


class EvaFamily(ViTFamily):
    """`Eva`: rotary positions, of the prefix excepted, and learned ones or none (EVA-02, DINOv3, PE)."""

    def pools_prefix(self, model: Any, how: str) -> bool:
        """Return whether class and register tokens are pooled with the patches: by attention they are."""
        return how == "map"

    def blocks(self, model: Any, x_BND: Tensor, tokens: PatchTokens, mask_B11N: Tensor | None) -> Tensor:
        """Return tokens after the last block; each patch is rotated by the angles of its own place."""
        rope = rope_angles(model, tokens)
        for index, block in enumerate(model.blocks):
            options = {} if rope is None else {"rope": rope[index] if is_mixed(model) else rope}
            if mask_B11N is not None:
                options["attn_mask"] = mask_B11N
            x_BND = block(x_BND, **options)
        return x_BND


class NaFlexFamily(EvaFamily):
    """`NaFlexVit`: positions of any grid, learned and resampled, rotary, or both."""

    def embed(self, model: Any, pixels_BCHW: Tensor) -> Tensor:
        """Return embedded patches without positions, (B, T, D)."""
        embeds, (rows, columns) = model.embeds, self.patch(model)
        if not embeds.is_linear:
            return embeds.norm(embeds.proj(pixels_BCHW).flatten(2).transpose(1, 2))
        b, c, height, width = pixels_BCHW.shape
        x = pixels_BCHW.view(b, c, height // rows, rows, width // columns, columns)
        x = x.permute(0, 2, 4, 3, 5, 1) if embeds.channels_last else x.permute(0, 2, 4, 1, 3, 5)
        x = x.flatten(3).flatten(1, 2)
        return embeds.norm(embeds.proj(x if embeds.norm_input is None else embeds.norm_input(x)))

    def patch(self, model: Any) -> Grid:
        """Return rows and columns of pixels of a patch."""
        rows, columns = model.embeds.patch_size
        return rows, columns

    def positions(self, model: Any, grid: Grid) -> Tensor | None:
        """Return what is added to the patches of a grid, (1, T, D); None for nothing."""
        embeds = model.embeds
        if embeds.pos_embed_type not in ("learned", "factorized"):
            return None
        weight = next(embeds.proj.parameters())
        x_1TD = weight.new_zeros(1, grid[0] * grid[1], model.embed_dim)
        if embeds.pos_embed_type == "learned":
            embeds._apply_learned_pos_embed(x_1TD, grid_size=list(grid))
        else:
            embeds._apply_factorized_pos_embed(x_1TD, grid_size=list(grid))
        return x_1TD

    def prefix(self, model: Any) -> Tensor | None:
        """Return class and register tokens, (1, P, D), which have no positions; None without any."""
        parts = [part for part in (model.embeds.cls_token, model.embeds.reg_token) if part is not None]
        return torch.cat(parts, dim=1) if parts else None

    def pools_prefix(self, model: Any, how: str) -> bool:
        """Return whether class and register tokens are pooled with the patches."""
        return bool(model.pool_include_prefix)

    def before_blocks(self, model: Any, x_BND: Tensor) -> Tensor:
        """Return tokens as the first block takes them."""
        return model.norm_pre(model.embeds.pos_drop(x_BND))


class BeitFamily(ViTFamily):
    """`Beit`: a learned bias of attention for each relative position, and learned positions or none (BEiT, BEiT v2)."""

    def before_blocks(self, model: Any, x_BND: Tensor) -> Tensor:
        """Return tokens as the first block takes them."""
        return model.pos_drop(x_BND)

    def blocks(self, model: Any, x_BND: Tensor, tokens: PatchTokens, mask_B11N: Tensor | None) -> Tensor:
        """Return tokens after the last block; each pair of patches has the bias of its own two places."""
        index_BNN = relative_positions_on(x_BND.device, tokens.grid)[None]
        if tokens.place is not None:
            place_BN = F.pad(tokens.place + 1, (1, 0))
            index_BNN = index_BNN[0][place_BN[:, :, None], place_BN[:, None, :]]
        shared = _bias(model.rel_pos_bias, index_BNN, tokens.grid)
        for block in model.blocks:
            terms = (shared, _bias(block.attn, index_BNN, tokens.grid), mask_B11N)
            given = [term for term in terms if term is not None]
            x_BND = block(x_BND, shared_rel_pos_bias=sum(given[1:], given[0]) if given else None)
        return x_BND


def family_of(kind: type[nn.Module]) -> ViTFamily | None:
    """Return the family of a class of timm; None for one whose patches do not pass one stack of plain blocks.

    A class that derives from one of the families, but computes features in its own way, is none either.
    """
    for base, family in FAMILIES.items():
        if issubclass(kind, base):
            own = [name for name in COMPUTED if getattr(kind, name, None) is not getattr(base, name, None)]
            return None if own else family()
    return None


FAMILIES: dict[type[nn.Module], type[ViTFamily]] = {
    VisionTransformer: ViTFamily,
    Eva: EvaFamily,
    Beit: BeitFamily,
    NaFlexVit: NaFlexFamily,
}
COMPUTED = ("forward_features", "forward")
"""Methods that decide how tokens are computed."""


def is_mixed(model: Any) -> bool:
    """Return whether each block of a model has rotary angles of its own."""
    return bool(getattr(model, "rope_mixed", False) or getattr(model, "rope_is_mixed", False))


def rope_angles(model: Any, tokens: PatchTokens) -> Tensor | None:
    """Return sines and cosines of the tokens' own places, as blocks take them; None without rotary positions.

    They are (T, 2 D / A), or (B, 1, K, 2 D / A) of kept tokens; where each block has its own, (L, A, T, 2 D / A) or
    (L, B, A, K, 2 D / A).
    """
    if model.rope is None:
        return None
    angles = model.rope.get_embed(shape=list(tokens.grid))
    if tokens.place is None:
        return angles
    if is_mixed(model):
        return angles[:, :, tokens.place].transpose(1, 2)
    return angles[tokens.place][:, None]


def _bias(module: Any, index_BNN: Tensor, grid: Grid) -> Tensor | None:
    """Return the attention bias (B, A, N, N) of a module with a table of relative positions; None without one."""
    table = None if module is None else module.relative_position_bias_table
    if table is None:
        return None
    if grid != tuple(module.window_size):
        table = resampled_bias_table(table, module.window_size, grid)
    return table[index_BNN].permute(0, 3, 1, 2)


def resampled_bias_table(table_RA: Tensor, old: Grid, new: Grid) -> Tensor:
    """Return the biases of relative positions of another grid over the same area, bicubic; class token rows stay."""
    (old_rows, old_columns), (rows, columns) = ((2 * h - 1, 2 * w - 1) for h, w in (old, new))
    patches_1AHW = table_RA[:-3].float().T.reshape(1, -1, old_rows, old_columns)
    resized = F.interpolate(patches_1AHW, size=(rows, columns), mode="bicubic", align_corners=True)
    return torch.cat([resized.flatten(2)[0].T.to(table_RA.dtype), table_RA[-3:]])


def additive_mask(mask_BT: Tensor, prefix: int, dtype: torch.dtype) -> Tensor:
    """Return what is added to attention logits, (B, 1, 1, P + T): -inf at padding, unless an image has nothing else.

    Args:
        mask_BT: bool, True at patches that are attended to.
        prefix: P, number of tokens in front of them, which always are.
        dtype: of the logits.
    """
    seen_BN = F.pad(mask_BT, (prefix, 0), value=True)
    padding_BN = ~seen_BN & seen_BN.any(1, keepdim=True)
    return torch.zeros_like(seen_BN, dtype=dtype).masked_fill(padding_BN, -torch.inf)[:, None, None]


def no_own_bias() -> int:
    """Stand in for the bias of a whole window that an attention layer of BEiT adds by itself."""
    return 0


relative_positions_on = device_constant(gen_relative_position_index)
"""Index (N, N) into the table of relative positions of a grid, on a device."""
