"""MAE."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, TokenDecoder, losses, take_tokens, token_indices
from sensorium.plugins.masked.masking import hide, share


class MAE(Objective):
    """Masked autoencoder: the encoder sees the visible tokens alone, a light decoder guesses the hidden ones.

    He et al. 2022, section 3. The loss is on hidden tokens only: the mean square against targets that are floats (each
    patch normalized by the encoder, as the paper has it), cross-entropy against class ids.

    Args:
        ratio: share of each record's tokens that is hidden, unless its view says which are (`info["masked"]`).
        width: width of the decoder's tokens.
        depth: blocks of the decoder.
        heads: attention heads of the decoder; they divide `width`.
    """

    needs = Needs(views=1, tokens=True, info="masked")

    def __init__(self, ratio: float = 0.75, width: int = 256, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.ratio, self.width, self.depth, self.heads = share(ratio, "mae"), width, depth, heads

    def build(self, encoders):
        """Make the decoder."""
        dim, out = encoders.single.token_dim, encoders.single.target_dim
        self.decoder = TokenDecoder(dim, out, self.width, self.depth, self.heads)

    def forward(self, views, encode):
        """Hide tokens, encode the others, guess the hidden ones."""
        (view,) = views
        tokens = encode.tokenize(view)
        hidden_BT, valid_BT = hide(view, tokens, self.ratio), tokens.valid()
        visible_BK, _ = token_indices(valid_BT & ~hidden_BT, ~valid_BT)
        wanted_BM, mask_BM = token_indices(hidden_BT, ~hidden_BT)
        features = encode.encode_tokens(view, tokens, visible_BK)
        guesses_BMP = self.decoder(features, tokens.positions, visible_BK, wanted_BM, mask_BM)
        loss = losses.reconstruction(guesses_BMP, take_tokens(encode.token_targets(view), wanted_BM), mask_BM)
        return Outcome(loss, features={"features": features.pooled.detach()})
