"""Clusters of HuBERT: k-means of tokens of the train part, fitted before the first step.

Letters: B records, T tokens, M masked tokens, N tokens of any number, K clusters, P width of what is clustered, D width
of a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sensorium import Assignments, Encoders, Teacher, check_range, heads, losses, take_tokens
from sensorium.errors import RecipeError
from sensorium.plugins.masked.cluster_targets import ClusterTargets, float_targets
from sensorium.plugins.masked.masked_prediction import Predicted

PER_CLUSTER = 256
"""Tokens of the train part for each cluster that k-means sees at most."""
ITERATIONS = 25


@dataclass(frozen=True)
class KMeans:
    """Options of the targets "k-means".

    Args:
        of: what is clustered: the "input" targets of tokens, such as patches (HuBERT's first iteration), tokens of the
            encoder's "start" weights, or of the modality's frozen "teacher", such as an earlier run (its second).
        layer: the block behind which tokens are taken, counted from 1; null: the encoder's final tokens.
        dim: width of the space in which predictions are compared with clusters; the paper's is 256.
        temperature: softmax temperature, > 0, which divides cosines.
    """

    of: Literal["input", "start", "teacher"] = "input"
    layer: int | None = None
    dim: int = 256
    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_range("objective 'masked-clusters'", "[1, inf)", **{"k_means.dim": self.dim})
        check_range("objective 'masked-clusters'", "(0, inf)", **{"k_means.temperature": self.temperature})
        if self.of == "input" and self.layer is not None:
            raise RecipeError(
                "The objective 'masked-clusters' was given k_means.layer, and clusters the input, which has no layers: "
                "set k_means.of to start or teacher."
            )


class KMeansTargets(ClusterTargets):
    """Targets of HuBERT (Hsu et al. 2021, sections II.A to II.C): the nearest of K centroids of tokens.

    Predictions, mapped linearly, are compared in cosine with a learned embedding of each cluster (eq. 3).

    Args:
        clusters: K.
        options: what is clustered, and the head.
    """

    fits = 2048
    centroids: Tensor

    def __init__(self, clusters: int, options: KMeans) -> None:
        super().__init__(clusters)
        self.options = options

    def build(self, encoders: Encoders, dim: int) -> None:
        """Make the head, and a frozen copy of the encoder where its start weights are clustered."""
        ((name, encoder),) = encoders.items()
        width, self.teachers = encoder.target_dim, encoders.teachers
        if self.options.of == "start":
            self.start, width = Teacher(encoders), encoder.token_dim
        elif self.options.of == "teacher":
            if name not in self.teachers:
                raise RecipeError(
                    "The objective 'masked-clusters' is to cluster the tokens of a frozen teacher, and there is none: "
                    f"hand it in, Learner(..., teachers={{'{name}': encoder}})."
                )
            width = self.teachers[name].token_dim
        self.register_buffer("centroids", torch.zeros(self.clusters, width))
        self.head = nn.Sequential(nn.Linear(dim, self.options.dim), heads.Prototypes(self.options.dim, self.clusters))

    def fit(self, batches: Any, encode: Any) -> None:
        """Cluster a sample of the tokens.

        Raises:
            RecipeError: when there are fewer tokens than clusters, or a teacher has other tokens than the encoder.
        """
        x_NP = sample_rows((self.valid_tokens(view, encode) for (view,) in batches), PER_CLUSTER * self.clusters)
        if len(x_NP) < self.clusters:
            raise RecipeError(
                f"The objective 'masked-clusters' is to make {self.clusters} clusters of {len(x_NP)} tokens of the "
                "train part: lower objective.clusters."
            )
        self.centroids.copy_(k_means(x_NP, self.clusters, ITERATIONS))
        self.fitted.fill_(True)

    def valid_tokens(self, view: Any, encode: Any) -> Tensor:
        """Return what is clustered of the tokens that are no padding, float32 (N, P)."""
        tokens_BTP, valid_BT = self.tokens(view, encode), encode.tokenize(view).valid()
        if tokens_BTP.shape[:2] != valid_BT.shape:
            raise RecipeError(
                f"The teacher has {tokens_BTP.shape[1]} tokens of each record of '{view.modality}', and the encoder "
                f"that is trained {valid_BT.shape[1]}: give both the same patches or strides."
            )
        return tokens_BTP[valid_BT].float()

    @torch.no_grad()
    def tokens(self, view: Any, encode: Any) -> Tensor:
        """Return what is clustered of each token, (B, T, P)."""
        if self.options.of == "input":
            return float_targets(view, encode)
        encode = encode.using(self.start.encoders if self.options.of == "start" else self.teachers)
        (features,) = encode([view]) if self.options.layer is None else encode.layers(view, [self.options.layer])
        return features.require_tokens("masked-clusters")

    def forward(self, predicted: Predicted, view: Any, encode: Any) -> tuple[Tensor, dict[str, Tensor], Assignments]:
        """Return the cross-entropy of the clusters of masked tokens, and what is logged."""
        self.check_fitted()
        x_BMP = take_tokens(self.tokens(view, encode), predicted.index_BM)
        with torch.autocast(x_BMP.device.type, enabled=False):
            codes_BM = nearest(x_BMP.to(self.centroids.dtype), self.centroids)
        logits_BMK = self.head(predicted.x_BMD) / self.options.temperature
        loss = losses.token_cross_entropy(logits_BMK, codes_BM, predicted.mask_BM)
        perplexity = losses.code_perplexity(codes_BM.flatten()[:, None], self.clusters, predicted.mask_BM.flatten())
        return loss, {"code_perplexity": perplexity}, Assignments(perplexity)


def nearest(x: Tensor, centroids_KP: Tensor) -> Tensor:
    """Return the nearest centroid of each row of x (..., P), int64 (...)."""
    return (x @ centroids_KP.T - centroids_KP.square().sum(1) / 2).argmax(-1)


def sample_rows(parts: Iterable[Tensor], count: int) -> Tensor:
    """Return a uniform sample without replacement of up to `count` rows of all parts, each (N, P), in any order.

    Draws from torch's global generator.

    Args:
        parts: iterated over once; no more than a part and the sample are held.
        count: number of rows.
    """
    rows: list[Tensor] = []
    drawn: list[Tensor] = []
    for part_NP in parts:
        rows, drawn = [*rows, part_NP], [*drawn, torch.rand(len(part_NP), dtype=torch.float64, device=part_NP.device)]
        if sum(map(len, rows)) > count:
            order_N = torch.cat(drawn).argsort()[:count]
            rows, drawn = [torch.cat(rows)[order_N]], [torch.cat(drawn)[order_N]]
    return torch.cat(rows)


def k_means(x_NP: Tensor, clusters: int, iterations: int) -> Tensor:
    """Return K centroids of Lloyd's algorithm, from seeds by k-means++ (Arthur and Vassilvitskii 2007): (K, P).

    A centroid that no row is nearest to moves to the row that is farthest from its own. Draws from torch's global
    generator.

    Args:
        x_NP: float, at least K rows.
        clusters: K.
        iterations: number of iterations, >= 1.
    """
    centroids_KP = _seeds(x_NP, clusters)
    ones_N = torch.ones(len(x_NP), device=x_NP.device)
    for _ in range(iterations):
        own_N = nearest(x_NP, centroids_KP)
        count_K = torch.zeros(clusters, device=x_NP.device).index_add_(0, own_N, ones_N)
        mean_KP = torch.zeros_like(centroids_KP).index_add_(0, own_N, x_NP) / count_K.clamp(min=1)[:, None]
        farthest_N = (x_NP - centroids_KP[own_N]).square().sum(1).argsort(descending=True)
        empty_K = count_K == 0
        moved_KP = x_NP[farthest_N[(empty_K.cumsum(0) - 1).clamp(min=0)]]
        centroids_KP = torch.where(empty_K[:, None], moved_KP, mean_KP)
    return centroids_KP


def _seeds(x_NP: Tensor, clusters: int) -> Tensor:
    """Return K rows far apart: each the best of several drawn in proportion to the squared distance from those before.

    Best is what leaves the smallest sum of squared distances (greedy k-means++).
    """
    tries = 2 + int(math.log(clusters))
    chosen = [int(torch.randint(len(x_NP), ()))]
    distance_N = (x_NP - x_NP[chosen[0]]).square().sum(1)
    for _ in range(clusters - 1):
        until_N = distance_N.double().cumsum(0)
        draws_R = torch.rand(tries, dtype=torch.float64).to(x_NP.device) * until_N[-1]
        rows_R = torch.searchsorted(until_N, draws_R, right=True).clamp(max=len(x_NP) - 1)
        distances = [distance_N.minimum((x_NP - x_NP[row]).square().sum(1)) for row in rows_R.tolist()]
        best = min(range(tries), key=lambda r: float(distances[r].sum()))
        chosen.append(int(rows_R[best]))
        distance_N = distances[best]
    return x_NP[torch.tensor(chosen, device=x_NP.device)]
