"""Pre-norm transformer, bidirectional or causal.

Letters: B texts, T tokens, K kept tokens, D width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens
from sensorium.errors import RecipeError
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.modalities.text.batch import TextBatch

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality

Pool = Literal["mean", "end", "first"]


def pool(tokens_BTD: Tensor, mask_BT: Tensor | None, how: Pool) -> Tensor:
    """Return one vector (B, D) for each text, at least fp32: the mean of its valid tokens, its last or its first."""
    if how == "first":
        return at_least_fp32(tokens_BTD[:, 0])
    if mask_BT is None:
        return at_least_fp32(tokens_BTD[:, -1]) if how == "end" else at_least_fp32(tokens_BTD).mean(1)
    if how == "end":
        index_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        last_B = torch.where(mask_BT, index_T, 0).amax(1)
        return at_least_fp32(tokens_BTD[torch.arange(len(last_B), device=last_B.device), last_B])
    with outside_autocast(tokens_BTD):
        wide_BTD = at_least_fp32(tokens_BTD)
        weight_BT = mask_BT.to(wide_BTD.dtype)
        weight_BT = weight_BT / weight_BT.sum(1, keepdim=True).clamp(min=1)
        return torch.einsum("bt,btd->bd", weight_BT, wide_BTD)


class Block(nn.Module):
    """Pre-norm transformer block: self-attention and an MLP, each with layer norm and a residual connection."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.fc1 = nn.Linear(width, 4 * width, bias=False)
        self.fc2 = nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTD: Tensor, causal: bool, attn_mask: Tensor | None) -> Tensor:
        """Return the tokens after one block; `attn_mask` is bool, broadcasts to (B, H, T, T), or None."""
        q, k, v = self.qkv(self.norm_attention(x_BTD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        out_BHTd = F.scaled_dot_product_attention(q, k, v, attn_mask, dropout, is_causal=causal)
        x_BTD = x_BTD + self.drop(self.proj(out_BHTd.transpose(1, 2).flatten(2)))
        return x_BTD + self.drop(self.fc2(F.gelu(self.fc1(self.norm_mlp(x_BTD)))))

    def drop(self, x: Tensor) -> Tensor:
        """Apply dropout, while training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Transformer(TokenEncoder):
    """Pre-norm transformer with learned positions: GPT-2 (Radford et al. 2019) when causal, else bidirectional as BERT.

    Features do not depend on padding. A token's target is its id, so `target_dim` is the vocabulary size.

    Args:
        width: width of the features.
        depth: number of blocks.
        heads: attention heads; they divide `width`.
        dropout: dropout probability on embeddings, attention and residual branches; SimCSE needs > 0, .1 is usual.
        causal: causal attention, for the objectives next-token and next-embedding.
        pool: pooled features: the "mean" of the valid tokens, the "end" (last) or the "first" token; when causal, only
            the last token attends to the whole text.
    """

    libraries = ("transformers",)

    def __init__(
        self,
        modality: TextModality,
        width: int = 256,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        causal: bool = False,
        pool: Pool = "mean",
    ) -> None:
        super().__init__()
        if width % heads:
            raise RecipeError(f"The encoder 'transformer' has a width of {width}, which {heads} heads do not divide.")
        if causal and pool == "first":
            raise RecipeError(
                "The first token of a causal transformer attends only to itself: set pool to end or mean."
            )
        self.dim, self.target_dim = width, modality.tokenizer.size
        self.is_causal, self.pool, self.dropout = causal, pool, dropout
        self.embed = nn.Embedding(self.target_dim, width)
        self.positions = nn.Parameter(torch.empty(modality.length, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self._initialize()

    def tower_of(self, library: str, head_ED: Tensor) -> Mapping[str, Any]:
        """Return it as a model of transformers with the same tokens, and how these are pooled."""
        from sensorium.modalities.text.encoders.xlm_roberta_xl import as_xlm_roberta_xl

        return {"model": as_xlm_roberta_xl(self), "pool": self.pool, "is_normalized": False}

    def _initialize(self) -> None:
        """Initialize as GPT-2: std .02, scaled by 1 / sqrt(2 x depth) on residual projections."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        for name, weight in self.named_parameters():
            if name.endswith(("proj.weight", "fc2.weight")):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * len(self.blocks)))

    def tokenize(self, batch: TextBatch) -> Tokens:
        """Look up the embeddings (B, T, D) of ids, and positions (1, T, D)."""
        return Tokens(self.embed(batch.ids), self.positions[None, : batch.ids.shape[1]], batch.mask)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or those at `keep` (B, K); causal attention follows their positions."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, mask_BT = tokens.x + tokens.positions, tokens.mask
        x_BTD = F.dropout(x_BTD, self.dropout, self.training) if self.dropout else x_BTD
        causal, attn_mask = self._attention_mask(mask_BT, keep)
        for block in self.blocks:
            x_BTD = block(x_BTD, causal, attn_mask)
        x_BTD = self.norm(x_BTD)
        if mask_BT is not None:
            x_BTD = x_BTD * mask_BT[..., None]
        return Features(pool(x_BTD, mask_BT, self.pool), x_BTD, mask_BT)

    def layer_stack(self) -> LayerStack:
        """Return its blocks, and the final norm behind them."""
        return LayerStack(self.blocks, [self.norm], self.norm)

    def _attention_mask(self, mask_BT: Tensor | None, keep: Tensor | None) -> tuple[bool, Tensor | None]:
        """Return whether attention is plainly causal, or else a mask of which tokens attend to which."""
        if self.is_causal and keep is None:
            return True, None  # padding is last, where no valid token attends
        attn_mask = mask_BT[:, None, None, :] if mask_BT is not None else None
        if self.is_causal and keep is not None:
            before = keep[:, None, :, None] >= keep[:, None, None, :]
            attn_mask = before if attn_mask is None else before & attn_mask
        return False, attn_mask

    def token_targets(self, batch: TextBatch) -> Tensor:
        """Return the ids themselves: int64 (B, T)."""
        return batch.ids
