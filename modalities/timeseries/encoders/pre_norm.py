"""The transformer of the time series encoders."""

from __future__ import annotations

from torch import nn

from sensorium.errors import RecipeError


def pre_norm_transformer(encoder: str, width: int, depth: int, heads: int, dropout: float) -> nn.TransformerEncoder:
    """Return a pre-norm transformer with GELU and a final norm, (B, T, D) to (B, T, D), every block initialized alone.

    Args:
        encoder: the name of the encoder, for errors.
        width: D, even and divisible by `heads`.
        depth: number of blocks.
        heads: attention heads.
        dropout: in attention and MLP while training, 0 to 1.

    Raises:
        RecipeError: when the width does not do.
    """
    if width % heads or width % 2:
        raise RecipeError(
            f"The encoder '{encoder}' has a width of {width}, which must be even and divisible by its {heads} heads."
        )
    block = nn.TransformerEncoderLayer(
        width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
    )
    blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)
    for layer in blocks.layers:  # copies of one block: initialize each independently
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.trunc_normal_(layer.self_attn.in_proj_weight, std=0.02)
    return blocks
