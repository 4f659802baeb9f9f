"""TS2Vec."""

from __future__ import annotations

from sensorium import Needs, Objective, Outcome, check_range, losses
from sensorium.errors import RecipeError


class TS2Vec(Objective):
    """TS2Vec: hierarchical contrastive learning of time series (Yue et al. 2022, eq. 1 to 3).

    At each scale of max-pooled tokens, the same time step of the two views is a positive pair; negatives are other time
    steps of the record (temporal contrast) and the same step of other records (instance contrast). The views' aligned
    tokens are `View.info["aligned"]`, int64 (B, L), -1 for none; without it all are aligned. The encoder must have a
    token for each time step.

    Args:
        alpha: weight of the instance contrast, 0 to 1; the temporal contrast has the rest.
        temporal_unit: first scale with a temporal contrast, >= 0; each scale pools two tokens of the last.
    """

    needs = Needs(views=2, info="aligned")
    record_keys = ()

    def __init__(self, alpha: float = 0.5, temporal_unit: int = 0) -> None:
        super().__init__()
        check_range("objective 'ts2vec'", "[0, 1]", alpha=alpha)
        self.alpha, self.temporal_unit = alpha, temporal_unit
        self._fits = False  # whether the encoder is known to have a token for each step

    def build(self, encoders):
        """Make nothing: tokens are contrasted without a head."""
        encoders.require_sequence("ts2vec")

    def forward(self, views, encode):
        """Contrast the aligned tokens of the two views."""
        features = [encode([view])[0] for view in views]  # one by one: padding to one length costs more than it saves
        (z1_BTD, mask_BT), (z2_BTD, other_mask_BT) = map(self.aligned, views, features)
        if z1_BTD.shape != z2_BTD.shape:
            raise RecipeError(
                f"The views given to 'ts2vec' have {z1_BTD.shape[1]} and {z2_BTD.shape[1]} aligned tokens: choose "
                "views that align their time steps, such as overlapping-crops."
            )
        self._fits = True
        loss = losses.hierarchical_contrastive(z1_BTD, z2_BTD, mask_BT & other_mask_BT, self.alpha, self.temporal_unit)
        return Outcome(loss, features={"features": features[0].pooled.detach()})

    def aligned(self, view, features):
        """Return the aligned tokens (B, L, D) of a view, and which of them are valid (B, L)."""
        tokens_BTD = features.require_tokens("ts2vec")
        if (aligned_BL := view.info.get("aligned")) is None:
            return tokens_BTD, features.valid()
        # Looked at in the first step alone, since the host waits for it.
        if not self._fits and int(aligned_BL.max()) >= tokens_BTD.shape[1]:
            raise RecipeError(
                f"The views given to 'ts2vec' have steps beyond the encoder's {tokens_BTD.shape[1]} tokens: choose an "
                "encoder with a token for each step."
            )
        shared = features.take(aligned_BL.clamp(min=0))
        return shared.tokens, shared.valid() & (aligned_BL >= 0)
