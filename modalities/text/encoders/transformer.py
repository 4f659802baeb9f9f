"""A transformer of our own, causal or looking both ways.

Letters: B texts, T tokens, K kept tokens, D width, H heads.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Features, TokenEncoder, Tokens
from sensorium.errors import RecipeError
from sensorium.modalities.text.batch import TextBatch

if TYPE_CHECKING:
    from sensorium.modalities.text.modality import TextModality

Pool = Literal["mean", "end", "first"]


def pool(tokens_BTD: Tensor, mask_BT: Tensor | None, how: Pool) -> Tensor:
    """Return one vector (B, D) for each text: the mean of its real tokens, its last or its first one."""
    if how == "first":
        return tokens_BTD[:, 0]
    if mask_BT is None:
        return tokens_BTD[:, -1] if how == "end" else tokens_BTD.mean(1)
    if how == "end":
        place_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        last_B = torch.where(mask_BT, place_T, 0).amax(1)
        return tokens_BTD[torch.arange(len(last_B), device=last_B.device), last_B]
    weight_BT = mask_BT.to(torch.float32)
    weight_BT = weight_BT / weight_BT.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btd->bd", weight_BT, tokens_BTD.float()).to(tokens_BTD.dtype)


class Block(nn.Module):
    """Self-attention and a two-layer network, each on normalized input and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.narrow = nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BTD: Tensor, causal: bool, sees: Tensor | None) -> Tensor:
        """Return the tokens after one block; `sees` is a bool mask that broadcasts to (B, H, T, T), or None."""
        q, k, v = self.qkv(self.norm_attention(x_BTD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed_BHTd = F.scaled_dot_product_attention(q, k, v, attn_mask=sees, dropout_p=dropout, is_causal=causal)
        x_BTD = x_BTD + self.drop(self.mix(mixed_BHTd.transpose(1, 2).flatten(2)))
        return x_BTD + self.drop(self.narrow(F.gelu(self.widen(self.norm_mlp(x_BTD)))))

    def drop(self, x: Tensor) -> Tensor:
        """Apply dropout, while training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Transformer(TokenEncoder):
    """Pre-norm transformer with learned positions (GPT-2, Radford et al. 2019; BERT-like when not causal).

    Padding changes no feature, nor does the length of a neighbor in the batch. A token's target is its id, so
    `target_dim` is the size of the vocabulary.

    Args:
        width: width of the features.
        depth: number of blocks.
        heads: attention heads; they divide `width`.
        dropout: on embeddings, attention and both parts of a block; SimCSE wants .1, small corpora 0.
        causal: a token sees only those before it, which the objective next-token needs.
        pool: what stands for the whole text: the "mean" of its tokens, its "end" or its "first" token; "end" is the
            only place that sees all of a text when causal.
    """

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
            raise RecipeError("The first token of a causal transformer sees itself alone: set pool to end or mean.")
        self.dim, self.target_dim = width, modality.tokenizer.size
        self.is_causal, self.pool, self.dropout = causal, pool, dropout
        self.embed = nn.Embedding(self.target_dim, width)
        self.positions = nn.Parameter(torch.empty(modality.length, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self._initialize()

    def _initialize(self) -> None:
        """Draw weights as GPT-2 does: a deviation of .02, smaller for what is added to the stream."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        for name, weight in self.named_parameters():
            if name.endswith(("mix.weight", "narrow.weight")):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * len(self.blocks)))

    def tokenize(self, batch: TextBatch) -> Tokens:
        """Look up the embeddings (B, T, D) of ids, and positions (1, T, D)."""
        return Tokens(self.embed(batch.ids), self.positions[None, : batch.ids.shape[1]], batch.mask)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens, or those at `keep` (B, K); a causal encoder's order is that of their places."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, mask_BT = tokens.x + tokens.positions, tokens.mask
        x_BTD = F.dropout(x_BTD, self.dropout, self.training) if self.dropout else x_BTD
        causal, sees = self._sight(mask_BT, keep)
        for block in self.blocks:
            x_BTD = block(x_BTD, causal, sees)
        x_BTD = self.norm(x_BTD)
        if mask_BT is not None:
            x_BTD = x_BTD * mask_BT[..., None]
        return Features(pool(x_BTD, mask_BT, self.pool), x_BTD, mask_BT)

    def _sight(self, mask_BT: Tensor | None, keep: Tensor | None) -> tuple[bool, Tensor | None]:
        """Return whether attention is plainly causal, and else which tokens see which."""
        if self.is_causal and keep is None:
            return True, None  # padding stands last, where no real token looks
        sees = mask_BT[:, None, None, :] if mask_BT is not None else None
        if self.is_causal and keep is not None:
            before = keep[:, None, :, None] >= keep[:, None, None, :]
            sees = before if sees is None else before & sees
        return False, sees

    def token_targets(self, batch: TextBatch) -> Tensor:
        """Return the ids themselves: int64 (B, T)."""
        return batch.ids
