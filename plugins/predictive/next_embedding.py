"""Next-embedding prediction."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import Needs, Objective, Outcome, TrainingSize, batch_norm, heads, losses
from sensorium.errors import check_range


def _sigreg_weight(size: TrainingSize) -> float:
    return 12.8 / size.batch


class NextEmbedding(Objective):
    """Next-embedding prediction: NEPA (Xu et al. 2025), or with SIGReg as LeWorldModel (Maes et al. 2026).

    From each token a causal encoder predicts the embedding of the next one: what its tokens are before positions and
    layers. Nothing is reconstructed, and there is no teacher. An anchor keeps embeddings from becoming all alike:

    - "stop-gradient": the loss is the negative cosine of the encoder's output and the next embedding, stop-gradient
      (NEPA); no head, no option.
    - "sigreg": embeddings are projected by an MLP that ends in batch norm, predicted linearly, and the squared error is
      added to `sigreg_weight` x SIGReg of the projections, at each position by itself; the gradient flows into both
      sides. The actions of a world model are left out.

    The first token is predicted by none, as encoders have no start token but one that is among their tokens.

    Args:
        anchor: what keeps embeddings from collapsing, "stop-gradient" or "sigreg".
        sigreg_weight: weight of SIGReg, > 0, a statistic that is about 1.06 for a Gaussian and grows with the records
            of a step for all else; the paper's is .1, at 128 records (auto: 12.8 / data.batch).
        directions: number of random directions of SIGReg, drawn anew at every step.
        width: hidden width of the projector of "sigreg".
        dim: width of the projected embeddings of "sigreg".
    """

    needs = Needs(views=1, tokens=True)
    remedy = "set objective.anchor to sigreg"
    auto = {"sigreg_weight": _sigreg_weight}

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


class EmbeddingProjector(nn.Module):
    """MLP from embeddings to projections that ends in batch norm over valid tokens, without scale and shift.

    Predictions are then compared in units of the projections' own variance, which cannot shrink.

    Args:
        dim: width of the embeddings, any norm.
        width: hidden width.
        out: width of the projections.
    """

    def __init__(self, dim: int, width: int, out: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(dim), heads.bottleneck_head(dim, width, out, layers=2))
        self.norm = batch_norm.MaskedBatchNorm(out, affine=False)

    def forward(self, x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the projections, zero at padding."""
        return self.norm(self.mlp(x_BTD).transpose(1, 2), valid_BT).transpose(1, 2)


def one_token_of_each(x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
    """Return one valid token of each record, detached (B, D): of record i token i modulo its number of tokens.

    So the records of a batch show tokens at all positions, and no shape depends on padding.
    """
    counts_B1 = valid_BT.sum(1, keepdim=True).clamp(min=1)
    number_B1 = torch.arange(len(x_BTD), device=x_BTD.device)[:, None] % counts_B1
    index_B = (valid_BT & (valid_BT.cumsum(1) == number_B1 + 1)).int().argmax(1)
    return x_BTD.detach()[torch.arange(len(x_BTD), device=x_BTD.device), index_B]
