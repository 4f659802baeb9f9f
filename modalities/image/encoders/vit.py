"""Vision transformer with tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from sensorium import Features, LayerStack, SensoriumError, TokenEncoder, Tokens, device_constant
from sensorium.losses.precision import at_least_fp32
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.normalize import MEAN, STD, Normalize
from sensorium.modalities.image.encoders.vit_weights import in_vit_layout
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.patches import patch_grid, pixel_targets

PRESETS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, depth and heads by name (Touvron et al. 2021, table 1; Dosovitskiy et al. 2021, table 1)."""


class ViT(TokenEncoder):
    """Vision transformer (ViT, Dosovitskiy et al. 2021) with fixed 2-D sine-cosine positions (He et al. 2022).

    Its tokens are patches, row by row. Images of another size than the modality's (local crops) are accepted when
    patches tile them: their positional embeddings are interpolated over the same area.

    Weights are those of runs, or of plain transformers with fixed sine-cosine positions and their grid (MAE); for
    learned positions there is `timm`.

    Args:
        modality: the image modality.
        preset: "tiny", "small", "base" or "large": default width, depth and heads, each of which can be set.
        patch: side of a patch in pixels; "auto" is an eighth of the image's shorter side.
        width: D, width of the tokens, a multiple of 4 and of `heads`.
        depth: number of blocks.
        heads: number of attention heads.
        pool: pooled features: "mean" of the patch tokens, or the "cls" token.
        causal: causal attention over patches, for the objectives next-token (AIM, El-Nouby et al. 2024) and
            next-embedding.
        drop_path: stochastic depth rate of the last block, in [0, 1); it grows linearly from 0.
        normalize_targets: normalize the pixels of each target patch to mean 0, variance 1 (He et al. 2022, section 3).
    """

    ignores = ("head.*", "head_dist.*", "mask_token", "decoder_*")

    def __init__(
        self,
        modality: ImageModality,
        preset: Literal["tiny", "small", "base", "large"] = "tiny",
        patch: int | Literal["auto"] = "auto",
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        pool: Literal["mean", "cls"] = "mean",
        causal: bool = False,
        drop_path: float = 0.0,
        normalize_targets: bool = True,
    ) -> None:
        super().__init__()
        default_width, default_depth, default_heads = PRESETS[preset]
        self.dim, depth, heads = width or default_width, depth or default_depth, heads or default_heads
        if self.dim % heads or self.dim % 4:
            raise SensoriumError(
                f"The width of 'vit' must be a multiple of 4 and of its {heads} heads; {self.dim} is not."
            )
        if causal and pool == "cls":
            raise SensoriumError("The cls token of a causal 'vit' attends to itself alone: set pool to mean.")
        self.patch, *grid = patch_grid(modality.size, patch)
        self.grid = tuple(grid)
        self.target_dim = self.patch**2 * modality.channels
        self.pool, self.is_causal, self.normalize_targets = pool, causal, normalize_targets
        self.normalize = Normalize(modality.channels, MEAN, STD)
        self.embed = PatchEmbed(None, self.patch, modality.channels, self.dim, strict_img_size=False)
        self.cls = nn.Parameter(torch.zeros(1, 1, self.dim)) if pool == "cls" else None
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.Sequential(*(Block(self.dim, heads, qkv_bias=True, drop_path=rate) for rate in rates))
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)
        self.register_buffer("positions", sine_cosine(self.grid, self.grid, self.dim), persistent=False)
        self._initialize()

    def convert_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights of MAE, or of timm's plain transformers, under its own names.

        Raises:
            RecipeError: for learned positions, another grid, or a class token that it lacks.
        """
        return in_vit_layout(weights, self.positions, self.cls is not None)

    @property
    def libraries(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those that have a plain vision transformer: timm, of which none is causal."""
        return () if self.is_causal else ("timm",)

    def tower_of(self, library: str, head_ED: Tensor) -> Mapping[str, Any]:
        """Return it as timm's vision transformer with given positions: architecture, arguments, weights, mean, std."""
        rows, columns = self.grid
        names = {"embed.": "patch_embed.", "cls": "cls_token"}
        weights = {"pos_embed": self.positions.clone()}
        for name, tensor in self.state_dict().items():
            old = next((old for old in names if name.startswith(old)), "")
            weights[names.get(old, "") + name.removeprefix(old)] = tensor
        return {
            "architecture": "vit_tiny_patch16_224",
            "model_args": {
                "img_size": [rows * self.patch, columns * self.patch],
                "patch_size": self.patch,
                "in_chans": self.embed.proj.in_channels,
                "num_classes": 0,
                "embed_dim": self.dim,
                "depth": len(self.blocks),
                "num_heads": self.blocks[0].attn.num_heads,  # type: ignore[union-attr]
                "class_token": self.cls is not None,
                "no_embed_class": True,
                "global_pool": "token" if self.cls is not None else "avg",
                "fc_norm": False,
            },
            "weights": weights,
            "mean": self.normalize.mean.flatten().tolist(),
            "std": self.normalize.std.flatten().tolist(),
        }

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.embed.proj.weight.view(self.dim, -1))
        if self.cls is not None:
            nn.init.normal_(self.cls, std=0.02)

    def tokenize(self, batch: ImageBatch) -> Tokens:
        """Split images into patches and embed them to (B, T, D)."""
        height, width = batch.pixels.shape[-2:]
        if height % self.patch or width % self.patch:
            raise SensoriumError(
                f"Patches of {self.patch} pixels do not tile views of {height}x{width}; "
                "set 'patch' of the encoder or the size of the views."
            )
        grid = (height // self.patch, width // self.patch)
        positions = self.positions
        if grid != self.grid:
            positions = positions_on(positions.device, grid, self.grid, self.dim).to(positions.dtype)
        return Tokens(self.embed(self.normalize(batch)), positions)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode patches, or those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, prefix, mask_BT = tokens.x + tokens.positions, int(self.cls is not None), tokens.mask
        if self.cls is not None:
            x_BTD = torch.cat([self.cls.expand(len(x_BTD), -1, -1), x_BTD], dim=1)
        attn_mask = self._causal_mask(x_BTD, keep) if self.is_causal else None
        if mask_BT is not None:
            attn_mask = _without_padding(F.pad(mask_BT, (prefix, 0), value=True), x_BTD, attn_mask)
        for block in self.blocks:
            x_BTD = block(x_BTD, attn_mask=attn_mask)
        x_BTD = self.norm(x_BTD)
        tokens_BTD = x_BTD[:, prefix:]
        if mask_BT is not None:
            tokens_BTD = tokens_BTD * mask_BT[..., None]
        if self.cls is not None:
            return Features(at_least_fp32(x_BTD[:, 0]), tokens_BTD, mask_BT)
        if mask_BT is None:
            return Features(at_least_fp32(tokens_BTD).mean(dim=1), tokens_BTD)
        pooled_BD = at_least_fp32(tokens_BTD).sum(1) / mask_BT.sum(1, keepdim=True).clamp(min=1)
        return Features(pooled_BD, tokens_BTD, mask_BT)

    def layer_stack(self) -> LayerStack:
        """Return its blocks, and the final norm behind them."""
        return LayerStack(self.blocks, [self.norm], self.norm, prefix=int(self.cls is not None))

    def _causal_mask(self, x_BTD: Tensor, keep: Tensor | None) -> Tensor:
        """Return the additive attention mask, (1 or B, 1, T, T): 0 up to a patch itself, -inf after it."""
        index_BT = torch.arange(x_BTD.shape[1], device=x_BTD.device)[None] if keep is None else keep
        after_BTT = index_BT[:, None, :] > index_BT[:, :, None]
        return torch.zeros_like(after_BTT, dtype=x_BTD.dtype).masked_fill(after_BTT, -torch.inf)[:, None]

    def token_targets(self, batch: ImageBatch) -> Tensor:
        """Return the pixels of each patch, float (B, T, P): C x patch x patch, each patch normalized by default."""
        return pixel_targets(self.normalize(batch), (self.patch, self.patch), self.normalize_targets)


def _without_padding(mask_BT: Tensor, x_BTD: Tensor, causal_mask: Tensor | None) -> Tensor:
    """Return the additive attention mask, (B, 1, T, T): -inf at padding, to which a padded token alone attends."""
    others_TT = ~torch.eye(mask_BT.shape[1], dtype=torch.bool, device=mask_BT.device)
    padding_B1TT = (~mask_BT[:, None, None] & others_TT).expand(-1, 1, -1, -1)
    zeros = torch.zeros(padding_B1TT.shape, dtype=x_BTD.dtype, device=x_BTD.device)
    return (zeros if causal_mask is None else zeros + causal_mask).masked_fill(padding_B1TT, -torch.inf)


def sine_cosine(grid: tuple[int, int], base: tuple[int, int], dim: int) -> Tensor:
    """Return 2-D sine-cosine positions, float (1, T, D), of a grid over the area of `base` (Vaswani et al. 2017)."""
    frequencies = 10000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    axes = []
    for count, full in zip(grid, base, strict=True):
        positions = (torch.arange(count, dtype=torch.float64) + 0.5) * full / count - 0.5
        angles = positions[:, None] * frequencies
        axes.append(torch.cat([angles.sin(), angles.cos()], dim=1))
    rows, columns = axes
    both = torch.cat([rows[:, None].expand(-1, grid[1], -1), columns[None].expand(grid[0], -1, -1)], dim=2)
    return both.flatten(0, 1)[None].float()


positions_on = device_constant(sine_cosine)
