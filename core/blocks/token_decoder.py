"""Masked and visible tokens: their indices in each row, and the transformer that predicts the masked ones.

Letters: B rows, T tokens, K visible tokens, M masked tokens, D width of the encoder's tokens, P width of a prediction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.errors import RecipeError
from sensorium.types import Features, take_tokens


def token_counts(*choices: tuple[Tensor, Tensor]) -> list[int]:
    """Return, for each choice of tokens, how many of each row `token_indices` can take: one read of the device for all.

    Args:
        choices: the chosen and the filler tokens, bool (B, T) each, as `token_indices` has them.

    Returns:
        The largest number of chosen tokens of a row, or less where a row has too few fillers; 1 without rows.
    """
    if not all(len(chosen) for chosen, _ in choices):  # a rank without records: layers refuse tensors of no tokens
        return [1] * len(choices)
    largest = [torch.minimum(chosen.sum(1).amax(), (chosen | filler).sum(1).amin()) for chosen, filler in choices]
    return torch.stack(largest).tolist()


def token_indices(chosen_BT: Tensor, filler_BT: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the chosen tokens of each row; rows with fewer are padded with filler tokens.

    Args:
        chosen_BT: bool, the chosen tokens.
        filler_BT: bool, the tokens that may pad a row, none of them chosen; often the padding of the input.
        count: K, how many tokens of each row; a row has as many that are chosen or fillers. Where it has more chosen
            ones, a random part of them is dropped. See `token_counts`, and `masking.random_mask_counts`.

    Returns:
        index int64 (B, K), in random order, and mask bool (B, K), True at chosen tokens.
    """
    noise_BT = torch.rand_like(chosen_BT, dtype=torch.float)
    order_BT = noise_BT + torch.where(chosen_BT, 0.0, torch.where(filler_BT, 1.0, 2.0))
    index_BK = order_BT.argsort(dim=1)[:, :count]
    return index_BK, chosen_BT.gather(1, index_BK)


def check_heads(part: str, width: int, heads: int) -> int:
    """Return the number of attention heads of a part of an objective.

    Raises:
        RecipeError: when they do not divide its width.
    """
    if width % heads:
        raise RecipeError(f"A {part} of width {width} cannot have {heads} heads: choose a width that they divide.")
    return heads


def transformer_blocks(part: str, width: int, depth: int, heads: int) -> nn.ModuleList:
    """Return pre-norm transformer blocks, without dropout.

    Args:
        part: what they are part of, such as "decoder", for the error.
        width: of their tokens.
        depth: their number.
        heads: attention heads; they divide `width`.

    Raises:
        RecipeError: when they do not.
    """
    heads = check_heads(part, width, heads)
    return nn.ModuleList(
        nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(depth)
    )


class TokenDecoder(nn.Module):
    """A narrow transformer that predicts masked tokens from visible ones: MAE's decoder, I-JEPA's predictor.

    The masked tokens, a learned mask token each, are appended to the visible ones; attention is full. Position
    embeddings are the encoder's, through a linear map.

    Args:
        dim: D, width of the encoder's tokens.
        out: P, width of a prediction.
        width: width of its own tokens.
        depth: number of blocks.
        heads: attention heads; they divide `width`.
    """

    def __init__(self, dim: int, out: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed_tokens, self.embed_positions = nn.Linear(dim, width), nn.Linear(dim, width, bias=False)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = transformer_blocks("decoder", width, depth, heads)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out))

    def forward(
        self, visible: Features, positions: Tensor, visible_BK: Tensor, masked_BM: Tensor, mask_BM: Tensor
    ) -> Tensor:
        """Predict the masked tokens.

        Args:
            visible: the encoded tokens (B, K, D), with their padding mask if they have one.
            positions: float (B, T, D) or (1, T, D), the encoder's position embeddings.
            visible_BK: int64, indices of the visible tokens.
            masked_BM: int64, indices of the masked tokens.
            mask_BM: bool, which of these are valid; the others are padding, which attention skips.

        Returns:
            Predictions (B, M, P).
        """
        b, k = visible_BK.shape
        positions_BTW = self.embed_positions(positions).expand(b, -1, -1)
        visible_BKW = self.embed_tokens(visible.tokens) + take_tokens(positions_BTW, visible_BK)
        masked_BMW = self.mask_token + take_tokens(positions_BTW, masked_BM)
        padding_BN = ~torch.cat([visible.valid(), mask_BM], dim=1)
        x_BNW = torch.cat([visible_BKW, masked_BMW], dim=1)
        for block in self.blocks:
            x_BNW = block(x_BNW, src_key_padding_mask=padding_BN)
        return self.head(x_BNW[:, k:])
