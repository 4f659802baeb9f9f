"""One transformer over the encoded tokens of all modalities of a record, and the decoder of each modality.

Letters: B records, N rows of a modality (the records that have it), F as many rows, or one where there are none, which
attention refuses, T tokens of a modality, K its visible ones, S tokens of a record over all modalities, D width of an
encoder's tokens, W width of the trunk, P width of a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.blocks.masking import dirichlet_masks, view_mask, visible_bound
from sensorium.blocks.record_rows import RecordRows
from sensorium.blocks.token_decoder import check_heads, transformer_blocks
from sensorium.blocks.token_predictor import CrossAttentionBlock
from sensorium.contracts import Encode, Encoder, Tokens
from sensorium.errors import RecipeError
from sensorium.types import Features, View, at_least_one_row, take_tokens


class Visible(NamedTuple):
    """What of a modality is visible to the trunk.

    Args:
        features: of the visible tokens, pooled (N, D) and tokens (N, K, D), as its encoder returns them.
        positions: float (N, K, D), the position embeddings of these tokens.
        mask: bool (N, K), which of them are visible; the others are padding.
    """

    features: Features
    positions: Tensor
    mask: Tensor


def draw_masks(
    views: Mapping[str, View], tokens: Mapping[str, Tokens], rows: RecordRows, visible: float, alpha: float
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Return which tokens of each modality are masked: by its view, or else by `masking.dirichlet_masks`.

    Args:
        views: modality name -> its view.
        tokens: modality name -> its tokens.
        rows: of which records.
        visible: as for `masking.dirichlet_masks`.
        alpha: likewise.

    Returns:
        Modality name -> bool (N, T), True where masked; and -> how many tokens of a record are visible at most.
    """
    masked = {name: view_mask(view, tokens[name]) for name, view in views.items()}
    most = {name: of_modality.x.shape[1] for name, of_modality in tokens.items()}
    if drawn := [name for name, mask_NT in masked.items() if mask_NT is None]:
        masks = dirichlet_masks([rows.spread(name, tokens[name].valid()) for name in drawn], visible, alpha)
        bound = visible_bound(visible, [most[name] for name in drawn])
        for name, mask_BT in zip(drawn, masks, strict=True):
            masked[name], most[name] = rows.pick(name, mask_BT), min(bound, most[name])
    return {name: mask_NT for name, mask_NT in masked.items() if mask_NT is not None}, most


def encode_visible(
    view: View, tokens: Tokens, encode: Encode, masked_NT: Tensor | None = None, most: int | None = None
) -> Visible:
    """Encode the visible tokens of a modality, of each record another number.

    Args:
        view: its view.
        tokens: its tokens.
        encode: runs the encoder.
        masked_NT: bool, which of them are masked; None is none.
        most: how many tokens of a record are visible at most; None is all.

    Raises:
        RecipeError: for an encoder that ignores the mask of tokens.
    """
    visible_NT = tokens.valid() if masked_NT is None else tokens.valid() & ~masked_NT
    index_NK = (~visible_NT).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]  # the visible ones, in their order
    mask_NK = visible_NT.gather(1, index_NK)
    # An encoder sees one token at least; where none is visible, nothing of what it returns is used.
    first_NT = torch.zeros_like(visible_NT).scatter(1, index_NK[:, :1], True)
    seen_NT = visible_NT | (first_NT & ~mask_NK.any(1, keepdim=True))
    features = encode.encode_tokens(view, replace(tokens, mask=seen_NT), index_NK)
    if features.mask is None:
        raise RecipeError(
            f"The objective shows another number of tokens of each record, by their padding mask, which the encoder of "
            f"'{view.modality}' ignores: choose another encoder, or let it mask attention and pooling by tokens.mask "
            "and return that as the mask of its features."
        )
    return Visible(features, take_tokens(tokens.positions, index_NK), mask_NK)


class JointTrunk(nn.Module):
    """Transformer over the visible tokens of all modalities of a record, behind their encoders.

    A linear map for each modality brings its tokens, their positions and its pooled features, which are one more token,
    to one width; a learned embedding says of which modality they are. In front stands a global token. A modality that a
    record lacks, or of which it shows nothing, is padding, to which nothing attends.

    Args:
        encoders: modality name -> encoder.
        width: W.
        depth: number of blocks.
        heads: attention heads; they divide `width`.
    """

    def __init__(self, encoders: Mapping[str, Encoder], width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed_tokens = nn.ModuleDict({name: nn.Linear(one.token_dim, width) for name, one in encoders.items()})
        self.embed_positions = nn.ModuleDict(
            {name: nn.Linear(one.token_dim, width, bias=False) for name, one in encoders.items()}
        )
        self.embed_pooled = nn.ModuleDict({name: nn.Linear(one.dim, width) for name, one in encoders.items()})
        self.embed_modality = nn.ParameterDict({name: nn.Parameter(torch.randn(width) * 0.02) for name in encoders})
        self.global_token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = transformer_blocks("trunk", width, depth, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, visible: Mapping[str, Visible], rows: RecordRows) -> tuple[Tensor, Tensor]:
        """Encode what is visible.

        Args:
            visible: modality name -> what is visible of it.
            rows: of which records.

        Returns:
            Tokens (B, S, W), the global token first, and which of them are valid, bool (B, S).
        """
        parts = [self.global_token.expand(rows.count, 1, -1)]
        masks = [torch.ones(rows.count, 1, dtype=torch.bool, device=parts[0].device)]
        for name, one in visible.items():
            assert one.features.tokens is not None, "token encoders return tokens"
            x_NKW = self.embed_tokens[name](one.features.tokens) + self.embed_positions[name](one.positions)
            pooled_N1W = self.embed_pooled[name](one.features.pooled)[:, None]
            x_NSW = torch.cat([pooled_N1W.to(x_NKW.dtype), x_NKW], dim=1) + self.embed_modality[name]
            mask_NS = torch.cat([one.mask.any(1, keepdim=True), one.mask], dim=1)
            parts.append(rows.spread(name, x_NSW).to(parts[0].dtype))
            masks.append(rows.spread(name, mask_NS))
        return self._encode(torch.cat(parts, dim=1), torch.cat(masks, dim=1))

    def embed(self, modality: str, pooled_BD: Tensor) -> Tensor:
        """Return the global token (B, W) of records that show nothing but the pooled features of one modality."""
        pooled_BW = self.embed_pooled[modality](pooled_BD) + self.embed_modality[modality]
        x_B2W = torch.stack([self.global_token.expand_as(pooled_BW), pooled_BW], dim=1)
        return self._encode(x_B2W, torch.ones(x_B2W.shape[:2], dtype=torch.bool, device=x_B2W.device))[0][:, 0]

    def _encode(self, x_BSW: Tensor, mask_BS: Tensor) -> tuple[Tensor, Tensor]:
        x_FSW, padding_FS = at_least_one_row(x_BSW), _padding(mask_BS)
        for block in self.blocks:
            x_FSW = block(x_FSW, src_key_padding_mask=padding_FS)
        return self.norm(x_FSW[: len(x_BSW)]), mask_BS


class CrossAttentionDecoder(nn.Module):
    """Predicts the tokens of one modality: queries attend to encoded tokens of all, then to each other (MultiMAE).

    A query is a learned mask token at the position embedding of its token, so that every token is predicted, those
    that are visible too.

    Args:
        dim: D, width of the position embeddings.
        context: W, width of the encoded tokens.
        out: P.
        width: width of its own tokens.
        depth: number of blocks behind the cross-attention.
        heads: attention heads; they divide `width`.
    """

    def __init__(self, dim: int, context: int, out: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed_positions = nn.Linear(dim, width, bias=False)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.embed_context = nn.Linear(context, width)
        self.cross_attention = CrossAttentionBlock(width, check_heads("decoder", width, heads))
        self.blocks = transformer_blocks("decoder", width, depth, heads)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))

    def forward(self, context_NSW: Tensor, context_mask_NS: Tensor, positions: Tensor, valid_NT: Tensor) -> Tensor:
        """Predict all tokens.

        Args:
            context_NSW: the encoded tokens of each record.
            context_mask_NS: bool, which of these are valid, at least one of each record.
            positions: float (N, T, D) or (1, T, D).
            valid_NT: bool, which tokens to predict are valid.

        Returns:
            Predictions (N, T, P).
        """
        rows = len(context_NSW)
        keys_FSW = self.embed_context(at_least_one_row(context_NSW))
        x_FTW = (self.mask_token + self.embed_positions(at_least_one_row(positions))).expand(len(keys_FSW), -1, -1)
        x_FTW = self.cross_attention(x_FTW, keys_FSW, ~_padding(context_mask_NS))
        for block in self.blocks:
            x_FTW = block(x_FTW, src_key_padding_mask=_padding(valid_NT))
        return self.head(x_FTW[:rows])  # type: ignore[no-any-return]


def _padding(mask_BS: Tensor) -> Tensor:
    """Return which tokens attention skips, (F, S); none where no token is valid: a softmax of nothing is nan."""
    mask_FS = at_least_one_row(mask_BS)
    return ~mask_FS & mask_FS.any(1, keepdim=True)
