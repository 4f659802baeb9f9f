"""One transformer over the encoded tokens of all modalities of a record, and the decoder of each modality.

Letters: B records, N rows of a modality (the records that have it), F as many rows, or one where there are none, which
attention refuses, T tokens of a modality, K its visible ones, S tokens of a record over all modalities, D width of an
encoder's tokens, W width of the trunk, P width of a prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.blocks.token_decoder import check_heads, transformer_blocks
from sensorium.blocks.token_predictor import CrossAttentionBlock
from sensorium.contracts import Encoder
from sensorium.devices import to_device
from sensorium.errors import SensoriumError
from sensorium.types import Features, View, at_least_one_row


class RecordRows:
    """Where the rows of each modality stand among the B records of a batch, known on the host.

    Args:
        views: modality name -> its view; those without `present` have a row for each record.

    Raises:
        SensoriumError: when views are of different numbers of records.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        counts = {name: len(view) if view.present is None else len(view.present) for name, view in views.items()}
        self.count = next(iter(counts.values()))
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
            raise SensoriumError(
                f"The views are of different numbers of records ({told}): views of records that lack a modality say "
                "so, View(..., present=mask), one entry for each record of the batch."
            )
        some = {name: np.flatnonzero(view.present) for name, view in views.items() if view.present is not None}
        device = next(iter(views.values())).batch.device
        self._index = dict(zip(some, to_device(some.values(), device), strict=True))

    def spread(self, name: str, x: Tensor) -> Tensor:
        """Return what belongs to the N rows of a modality, (N, ...), for all records (B, ...); zero where it lacks."""
        if name not in self._index:
            return x
        return x.new_zeros(self.count, *x.shape[1:]).index_copy(0, self._index[name], x)

    def pick(self, name: str, x: Tensor) -> Tensor:
        """Return of what belongs to all records, (B, ...), that of the rows of a modality (N, ...)."""
        return x.index_select(0, self._index[name]) if name in self._index else x


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
