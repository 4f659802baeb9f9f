"""Clusters of BEST-RQ: a random projection of the input, and random codes.

Letters: B records, T tokens, M masked tokens, N tokens of any number, P width of an input target, G codebooks, V codes
of a codebook, E width of a code, D width of a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Assignments, Encoders, check_range, losses, take_tokens
from sensorium.plugins.masked.cluster_targets import ClusterTargets, float_targets
from sensorium.plugins.masked.masked_prediction import Predicted


@dataclass(frozen=True)
class RandomProjection:
    """Options of the targets "random-projection".

    Args:
        codebooks: number of codebooks, each with a projection and a part of the loss of its own; the paper has 1.
        dim: width of projection and codes; the paper's is 16.
    """

    codebooks: int = 1
    dim: int = 16

    def __post_init__(self) -> None:
        check_range("objective 'masked-clusters'", "[1, inf)", **{"random_projection.codebooks": self.codebooks})
        check_range("objective 'masked-clusters'", "[1, inf)", **{"random_projection.dim": self.dim})


class RandomProjectionTargets(ClusterTargets):
    """Quantizer of BEST-RQ (Chiu et al. 2022, section 3.1): the nearest random code of a random projection.

    Input targets are standardized by dimension, with statistics of the train part. Projection (Xavier) and codes
    (normal) are drawn with the first weights and never trained; both are compared as unit vectors.

    Args:
        clusters: V.
        options: codebooks and widths.
    """

    fits = 1024
    mean: Tensor
    scale: Tensor
    projection: Tensor
    codes: Tensor

    def __init__(self, clusters: int, options: RandomProjection) -> None:
        super().__init__(clusters)
        self.options = options

    def build(self, encoders: Encoders, dim: int) -> None:
        """Draw projection and codes, and make the head."""
        g, e, p = self.options.codebooks, self.options.dim, encoders.single.target_dim
        self.register_buffer("mean", torch.zeros(p))
        self.register_buffer("scale", torch.ones(p))
        self.register_buffer("projection", torch.stack([nn.init.xavier_uniform_(torch.empty(p, e)) for _ in range(g)]))
        self.register_buffer("codes", F.normalize(torch.randn(g, self.clusters, e), dim=-1))
        self.head = nn.Linear(dim, g * self.clusters)

    def fit(self, batches: Any, encode: Any) -> None:
        """Learn mean and standard deviation of input targets by dimension; constant dimensions are left out."""
        moments = RunningMoments()
        for (view,) in batches:
            moments.add(float_targets(view, encode)[encode.tokenize(view).valid()])
        mean_P, std_P = moments.read()
        self.mean.copy_(mean_P)
        self.scale.copy_(torch.where(std_P > 1e-6 * (1 + mean_P.abs()), std_P.reciprocal(), 0.0))
        self.fitted.fill_(True)

    def forward(self, predicted: Predicted, view: Any, encode: Any) -> tuple[Tensor, dict[str, Tensor], Assignments]:
        """Return the cross-entropy of the codes of masked tokens, and what is logged."""
        self.check_fitted()
        codes_BMG = self.codes_of(take_tokens(float_targets(view, encode), predicted.index_BM))
        logits_BMGV = self.head(predicted.x_BMD).unflatten(-1, (-1, self.clusters))
        loss = losses.token_cross_entropy(logits_BMGV, codes_BMG, predicted.mask_BM[..., None].expand_as(codes_BMG))
        perplexity = losses.code_perplexity(codes_BMG.flatten(0, 1), self.clusters, predicted.mask_BM.flatten())
        return loss, {"code_perplexity": perplexity}, Assignments(perplexity)

    @torch.no_grad()
    def codes_of(self, targets_BMP: Tensor) -> Tensor:
        """Return the nearest code of each token in each codebook, int64 (B, M, G)."""
        with torch.autocast(targets_BMP.device.type, enabled=False):
            x_BMP = (targets_BMP.to(self.mean.dtype) - self.mean) * self.scale
            unit_BMGE = F.normalize(torch.einsum("bmp,gpe->bmge", x_BMP, self.projection), dim=-1)
            return torch.einsum("bmge,gve->bmgv", unit_BMGE, self.codes).argmax(-1)


class RunningMoments:
    """Mean and standard deviation of rows that come in batches, in double precision."""

    def __init__(self) -> None:
        self.count, self.mean_P, self.squares_P = 0, torch.zeros(()), torch.zeros(())

    def add(self, x_NP: Tensor) -> None:
        """Count rows (Chan et al. 1983, eq. 2.1)."""
        if not len(x_NP):
            return
        x_NP = x_NP.double()
        mean_P, squares_P, count = x_NP.mean(0), x_NP.var(0, correction=0) * len(x_NP), self.count + len(x_NP)
        difference_P = mean_P - self.mean_P.to(mean_P)
        between_P = difference_P.square() * (self.count * len(x_NP) / count)
        self.squares_P = self.squares_P.to(mean_P) + squares_P + between_P
        self.mean_P = self.mean_P.to(mean_P) + difference_P * (len(x_NP) / count)
        self.count = count

    def read(self) -> tuple[Tensor, Tensor]:
        """Return mean (P,) and standard deviation (P,) of all rows so far."""
        return self.mean_P, (self.squares_P / max(self.count, 1)).sqrt()
