"""TS2Vec."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, losses
from sensorium.errors import RecipeError


class TS2Vec(Objective):
    """Hierarchical contrast between the tokens that two views share (Yue et al. 2022, equations 1 to 3).

    The views say by `info["aligned"]`, int64 (B, L) with -1 for none, which tokens of theirs show the same; without it
    the views are taken to show the same, token by token. The encoder must have a token for each entry of the input.

    Args:
        alpha: weight of the contrast between records; that between the tokens of one record has the rest.
        temporal_from: the scale from which on tokens of one record are contrasted; each scale joins two tokens.
    """

    needs = Needs(views=2, info="aligned")

    def __init__(self, alpha: float = 0.5, temporal_from: int = 0) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise RecipeError(f"The alpha of the objective 'ts2vec' lies from 0 to 1, not at {alpha}.")
        self.alpha, self.temporal_from = alpha, temporal_from

    def build(self, encoders):
        """There is no head: tokens are compared as the encoder makes them."""

    def forward(self, views, encode):
        """Contrast what the two views share."""
        # One by one: padding both views to one length would cost more than a joint pass saves.
        features = [encode([view])[0] for view in views]
        (z1_BTD, mask_BT), (z2_BTD, also_BT) = map(self.shared, views, features)
        if z1_BTD.shape != z2_BTD.shape:
            raise RecipeError(
                f"The views given to 'ts2vec' share {z1_BTD.shape[1]} and {z2_BTD.shape[1]} tokens: choose views that "
                "say which of their steps overlap, such as overlapping-crops."
            )
        loss = losses.hierarchical_contrastive(z1_BTD, z2_BTD, mask_BT & also_BT, self.alpha, self.temporal_from)
        return Outcome(loss, features={"features": features[0].pooled.detach()})

    def shared(self, view, features):
        """Return the tokens (B, L, D) of a view that the other view has too, and which of them are valid (B, L)."""
        tokens_BTD = features.require_tokens("ts2vec")
        aligned_BL = view.info.get("aligned")
        if aligned_BL is None:
            return tokens_BTD, features.valid()
        if int(aligned_BL.max()) >= tokens_BTD.shape[1]:
            raise RecipeError(
                f"The views given to 'ts2vec' have steps beyond the encoder's {tokens_BTD.shape[1]} tokens: choose an "
                "encoder with a token for each step."
            )
        shared = features.take(aligned_BL.clamp(min=0))
        return shared.tokens, shared.valid() & (aligned_BL >= 0)
