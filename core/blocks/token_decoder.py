"""Tokens that are shown and tokens to be guessed: their places in each row, and the transformer that guesses.

Letters: B rows, T tokens, K shown tokens, M wanted tokens, D width of the encoder's tokens, P width of a guess.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError
from sensorium.types import Features, take_tokens


def token_indices(chosen_BT: Tensor, spare_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the chosen tokens of each row, rows that choose fewer filled up with spare tokens.

    Args:
        chosen_BT: bool, the tokens that are chosen.
        spare_BT: bool, those that may fill a row, none of them chosen: padding, where nothing else may be looked at.

    Returns:
        places int64 (B, K), in no order, and mask bool (B, K), True at chosen tokens. K is what the row with the most
        chosen tokens needs, or less where another row could not be filled so far; a random part of the chosen is left.
    """
    chosen_B, enough_B = chosen_BT.sum(1), (chosen_BT | spare_BT).sum(1)
    k = int(torch.minimum(chosen_B.amax(), enough_B.amin()))
    luck_BT = torch.rand_like(chosen_BT, dtype=torch.float)
    turn_BT = luck_BT + torch.where(chosen_BT, 0.0, torch.where(spare_BT, 1.0, 2.0))
    places_BK = turn_BT.argsort(dim=1)[:, :k]
    return places_BK, chosen_BT.gather(1, places_BK)


class TokenDecoder(nn.Module):
    """A narrow transformer that guesses absent tokens from encoded ones: MAE's decoder, I-JEPA's predictor.

    The wanted tokens, a learned mask token each, stand behind the encoded ones; all of them see all. Where a token
    stands it learns from the encoder's positions, through a linear map.

    Args:
        dim: D, width of the encoder's tokens.
        out: P, width of a guess.
        width: of its own tokens.
        depth: number of blocks.
        heads: attention heads; they divide `width`.
    """

    def __init__(self, dim: int, out: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise RecipeError(f"A decoder of width {width} cannot have {heads} heads: choose a width that they divide.")
        self.enter, self.place = nn.Linear(dim, width), nn.Linear(dim, width, bias=False)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))

    def forward(
        self, shown: Features, positions: Tensor, shown_BK: Tensor, wanted_BM: Tensor, mask_BM: Tensor
    ) -> Tensor:
        """Guess the wanted tokens.

        Args:
            shown: the encoded tokens (B, K, D), with their mask if some are padding.
            positions: float (B, T, D) or (1, T, D), the encoder's.
            shown_BK: int64, the places of the encoded tokens.
            wanted_BM: int64, the places of the wanted ones.
            mask_BM: bool, which of them are wanted indeed; nothing sees the others.

        Returns:
            Guesses (B, M, P).
        """
        b, k = shown_BK.shape
        positions_BTW = self.place(positions).expand(b, -1, -1)
        known_BKW = self.enter(shown.tokens) + take_tokens(positions_BTW, shown_BK)
        asked_BMW = self.mask_token + take_tokens(positions_BTW, wanted_BM)
        unseen_BN = ~torch.cat([shown.valid(), mask_BM], dim=1)
        x_BNW = torch.cat([known_BKW, asked_BMW], dim=1)
        for block in self.blocks:
            x_BNW = block(x_BNW, src_key_padding_mask=unseen_BN)
        return self.leave(x_BNW[:, k:])
