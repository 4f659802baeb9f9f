"""Next-embedding prediction."""

from __future__ import annotations

from typing import Literal

from torch import nn

from sensorium import Needs, Objective, Outcome, losses
from sensorium.errors import check_range
from sensorium.plugins.predictive.embeddings import EmbeddingProjector, one_token_of_each


class NextEmbedding(Objective):
    """Next-embedding prediction: NEPA (Xu et al. 2025), or with SIGReg as LeWorldModel (Maes et al. 2026).

    From each token a causal encoder predicts the embedding of the next one, which is what it has of a token before
    positions and layers: nothing is reconstructed, and there is no teacher. By default the loss is the negative cosine
    of output and next embedding, stop-gradient. With SIGReg embeddings are projected, predicted linearly (mean squared
    error), and regularized at each position by itself; actions of a world model are left out.

    Args:
        anchor: what keeps embeddings from collapsing, "stop-gradient" (NEPA) or "sigreg", for which the others are.
        sigreg_weight: weight of SIGReg, > 0, a statistic that is about 1.06 for a Gaussian and grows with the records
            of a step for all else; the paper's is .1, at 128 records (auto: 12.8 / data.batch).
        directions: number of random directions of SIGReg, drawn anew at every step.
        width: hidden width of the projector.
        dim: width of the projections.
    """

    needs = Needs(views=1, tokens=True)
    record_keys = ()
    remedy = "set objective.anchor to sigreg"
    auto = {"sigreg_weight": lambda size: 12.8 / size.batch}

    def __init__(
        self,
        anchor: Literal["stop-gradient", "sigreg"] = "stop-gradient",
        sigreg_weight: float = 0.1,
        directions: int = 64,
        width: int = 512,
        dim: int = 128,
    ) -> None:
        super().__init__()
        check_range("objective 'next-embedding'", "(0, inf)", sigreg_weight=sigreg_weight)
        self.anchor, self.sigreg_weight, self.directions = anchor, sigreg_weight, directions
        self.width, self.dim = width, dim
        if anchor == "sigreg":
            self.remedy = "raise objective.sigreg_weight"

    def build(self, encoders):
        """Make the projector of embeddings and the predictor of projections, where there is SIGReg."""
        encoders.require_causal("next-embedding")
        if self.anchor == "sigreg":
            self.project = EmbeddingProjector(encoders.single.token_dim, self.width, self.dim)
            self.predict = nn.Linear(encoders.single.token_dim, self.dim)

    def forward(self, views, encode):
        """Predict the embedding of the token after each; the last token, and one before padding, has none."""
        (view,) = views
        tokens = encode.tokenize(view)
        outputs_BTD, valid_BT = encode.encode_tokens(view, tokens).tokens, tokens.valid()
        watched = {"embeddings": one_token_of_each(tokens.x, valid_BT)}
        if self.anchor == "stop-gradient":
            return Outcome(losses.next_embedding(outputs_BTD, tokens.x, valid_BT), features=watched)
        z_BTD, pair_BT = self.project(tokens.x, valid_BT), valid_BT[:, 1:] & valid_BT[:, :-1]
        prediction = losses.masked_regression(self.predict(outputs_BTD[:, :-1]), z_BTD[:, 1:], pair_BT)
        directions_DS = losses.random_directions(self.dim, self.directions, z_BTD.device)
        sigreg = losses.sigreg_by_step(z_BTD, valid_BT, directions_DS)
        logs = {"prediction": prediction.detach(), "sigreg": sigreg.detach()}
        watched["projection"] = one_token_of_each(z_BTD, valid_BT)
        return Outcome(prediction + self.sigreg_weight * sigreg, logs, watched)
