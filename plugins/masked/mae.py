"""MAE."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, TokenDecoder, losses, masking, take_tokens
from sensorium.errors import check_range


class MAE(Objective):
    """MAE: masked autoencoder (He et al. 2022).

    The encoder sees the visible tokens alone; a light transformer decoder reconstructs the masked ones. The loss is
    over masked tokens: mean squared error for float targets (each patch normalized by the encoder, as in the paper),
    cross-entropy for class ids.

    Args:
        mask_ratio: fraction of each record's tokens that is masked, in (0, 1); the mask of a view comes first.
        width: width of the decoder.
        depth: number of decoder blocks.
        heads: attention heads of the decoder; they divide `width`.
    """

    needs = Needs(views=1, tokens=True, info="masked")
    record_keys = ()

    def __init__(self, mask_ratio: float = 0.75, width: int = 256, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        check_range("objective 'mae'", "(0, 1)", mask_ratio=mask_ratio)
        self.mask_ratio, self.width, self.depth, self.heads = mask_ratio, width, depth, heads

    def build(self, encoders):
        """Make the decoder."""
        dim, out = encoders.single.token_dim, encoders.single.target_dim
        self.decoder = TokenDecoder(dim, out, self.width, self.depth, self.heads)

    def forward(self, views, encode):
        """Encode the visible tokens, reconstruct the masked ones."""
        (view,) = views
        tokens = encode.tokenize(view)
        masked_BT = masking.random_mask(view, tokens, self.mask_ratio)
        visible_BK, masked_BM, mask_BM = masking.split_masked(view, tokens, self.mask_ratio, masked_BT)
        features = encode.encode_tokens(view, tokens, visible_BK)
        predictions_BMP = self.decoder(features, tokens.positions, visible_BK, masked_BM, mask_BM)
        loss = losses.reconstruction(predictions_BMP, take_tokens(encode.token_targets(view), masked_BM), mask_BM)
        return Outcome(loss, features={"features": features.pooled.detach()})
