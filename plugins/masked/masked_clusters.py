"""Masked prediction of clusters: BEST-RQ, HuBERT, CAPI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from sensorium import (
    Needs,
    Objective,
    Outcome,
    TokenPredictor,
    TrainingSize,
    cosine_schedule,
    masking,
    take_tokens,
    token_counts,
    token_indices,
)
from sensorium.errors import RecipeError, check_range
from sensorium.plugins.masked.k_means import KMeans, KMeansTargets
from sensorium.plugins.masked.online_clusters import Online, OnlineTargets
from sensorium.plugins.masked.random_projection import RandomProjection, RandomProjectionTargets

KINDS = {
    "random-projection": (RandomProjectionTargets, RandomProjection),
    "k-means": (KMeansTargets, KMeans),
    "online": (OnlineTargets, Online),
}


@dataclass(frozen=True)
class Predictor:
    """A predictor behind an encoder that sees the visible tokens alone.

    Args:
        depth: number of blocks of cross-attention, >= 1.
        width: width of its tokens.
        heads: attention heads; they divide `width`.
    """

    depth: int = 2
    width: int = 128
    heads: int = 4


class MaskedClusters(Objective):
    """Masked cluster prediction: BEST-RQ, HuBERT and CAPI differ in what the clusters of tokens are.

    Cross-entropy of the clusters of masked tokens, every masked token with the same weight; visible ones are never
    scored. Clusters are random codes of a random projection of the input (Chiu et al. 2022), those of k-means on the
    train part (Hsu et al. 2021), or prototypes that learn online from an EMA teacher's tokens (Darcet et al. 2025).

    Args:
        targets: what the clusters are: "random-projection" (BEST-RQ), "k-means" (HuBERT) or "online" (CAPI).
        clusters: number of clusters; the papers have 8,192 codes, 100 to 500 centroids, 16,384 prototypes.
        mask: what is masked: single "tokens", "spans" of them, or all but a block ("inverse-block", as CAPI).
        mask_ratio: fraction of each record's tokens that is masked, in (0, 1); the mask of a view comes first.
        mask_length: tokens of a masked span, >= 1; HuBERT has 10.
        predictor: for an encoder of visible tokens alone, with a predictor behind it, as in CAPI and BEATs; null: the
            encoder sees mask tokens, as in BEST-RQ and HuBERT.
        momentum: of the EMA teacher of online clusters at the start, in [0, 1); it rises to 1 along a half cosine.
        random_projection: options of the targets "random-projection".
        k_means: options of the targets "k-means".
        online: options of the targets "online".
    """

    needs = Needs(views=1, tokens=True, info="masked")
    remedy = "lower objective.clusters"
    auto = {
        "clusters": lambda scale: min(scale.power_of_two(1 / 8, 16, 4096), 2 ** max(scale.batch.bit_length() - 1, 1)),
        "momentum": TrainingSize.momentum,
    }

    def __init__(
        self,
        targets: Literal["random-projection", "k-means", "online"] = "random-projection",
        clusters: int = 64,
        mask: Literal["tokens", "spans", "inverse-block"] = "tokens",
        mask_ratio: float = 0.6,
        mask_length: int = 10,
        predictor: Predictor | None = None,
        momentum: float = 0.996,
        random_projection: RandomProjection | None = None,
        k_means: KMeans | None = None,
        online: Online | None = None,
    ) -> None:
        super().__init__()
        check_range("objective 'masked-clusters'", "(0, 1)", mask_ratio=mask_ratio)
        check_range("objective 'masked-clusters'", "[1, inf)", mask_length=mask_length)
        check_range("objective 'masked-clusters'", "[2, inf)", clusters=clusters)
        given = {"random-projection": random_projection, "k-means": k_means, "online": online}
        if others := [name.replace("-", "_") for name, value in given.items() if value is not None and name != targets]:
            raise RecipeError(
                f"The objective 'masked-clusters' has the targets '{targets}', and was given options of others "
                f"({', '.join(others)}): leave them out, or set objective.targets."
            )
        made, defaults = KINDS[targets]
        self.clusters = made(clusters, given[targets] or defaults())
        self.fits = self.clusters.fits
        self.mask, self.mask_ratio, self.mask_length = mask, mask_ratio, mask_length
        self.predictor_options, self.momentum = predictor, momentum

    def build(self, encoders):
        """Make the mask token or the predictor, and what assigns tokens to clusters."""
        encoder, options = encoders.single, self.predictor_options
        dim, self.grid = encoder.token_dim, encoder.grid
        if options is None:
            self.predictor, self.mask_token = None, masking.mask_token(encoder, torch.randn(dim) * 0.02)
        else:
            self.predictor = TokenPredictor(dim, options.width, options.depth, options.heads)
        self.clusters.build(encoders, dim if options is None else options.width)

    def fit(self, batches, encode):
        """Learn statistics of the input, or clusters, from the train part."""
        self.clusters.fit(batches, encode)

    def forward(self, views, encode):
        """Predict the clusters of masked tokens."""
        (view,) = views
        tokens = encode.tokenize(view)
        masked_BT, valid_BT = self.masked(view, tokens), tokens.valid()
        visible, masked = self.counts(view, tokens, masked_BT)
        masked_BM, mask_BM = token_indices(masked_BT, ~masked_BT, masked)
        if self.predictor is None:
            features = encode.encode_tokens(view, masking.replace_masked(tokens, masked_BT, self.mask_token))
            predictions_BMD = take_tokens(features.tokens, masked_BM)
        else:
            visible_BK, _ = token_indices(valid_BT & ~masked_BT, ~valid_BT, visible)
            features = encode.encode_tokens(view, tokens, visible_BK)
            predictions_BMD = self.predictor(features, tokens.positions, visible_BK, masked_BM)
        loss, logs, assignments = self.clusters(predictions_BMD, view, encode, masked_BM, mask_BM)
        return Outcome(loss, logs, {"features": features.pooled.detach()}, {"clusters": assignments})

    def masked(self, view, tokens):
        """Return which tokens are masked, bool (B, T)."""
        if self.mask == "spans":
            starts = 1 - (1 - self.mask_ratio) ** (1 / self.mask_length)  # so that overlapping spans mask the ratio
            return masking.span_mask(view, tokens, starts, self.mask_length)
        if self.mask == "inverse-block":
            return masking.inverse_block_mask(view, tokens, self.grid, self.mask_ratio)
        return masking.random_mask(view, tokens, self.mask_ratio)

    def counts(self, view, tokens, masked_BT):
        """Return how many visible and how many masked tokens of each record are taken."""
        if self.mask == "tokens":
            return masking.random_mask_counts(view, tokens, self.mask_ratio, masked_BT)
        valid_BT = tokens.valid()
        return token_counts((valid_BT & ~masked_BT, ~valid_BT), (masked_BT, ~masked_BT))

    def after_step(self, progress):
        """Update the teacher of online clusters."""
        self.clusters.after_step(cosine_schedule(self.momentum, 1.0, progress))
