"""Masked prediction of clusters: BEST-RQ, HuBERT, CAPI."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sensorium import Needs, Objective, Outcome, TrainingSize, cosine_schedule
from sensorium.errors import check_range
from sensorium.plugins.masked.cluster_kinds import targets_of
from sensorium.plugins.masked.k_means import KMeans
from sensorium.plugins.masked.masked_prediction import MaskedPrediction, Predictor
from sensorium.plugins.masked.online_clusters import Online
from sensorium.plugins.masked.random_projection import RandomProjection


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
    record_keys = ()
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
        self.clusters = targets_of(targets, clusters, random_projection, k_means, online)
        self.fits, self.momentum = self.clusters.fits, momentum
        self.prediction = mask, mask_ratio, mask_length, predictor

    @classmethod
    def variant(cls, options):
        """Return the class that needs a frozen teacher where its tokens are clustered."""
        k_means = options.get("k_means")
        return TaughtMaskedClusters if k_means is not None and k_means.of == "teacher" else cls

    def build(self, encoders):
        """Make the mask token or the predictor, and what assigns tokens to clusters."""
        self.predict = MaskedPrediction(encoders.single, *self.prediction)
        self.clusters.build(encoders, self.predict.dim)

    def fit(self, batches, encode):
        """Learn statistics of the input, or clusters, from the train part."""
        self.clusters.fit(batches, encode)

    def forward(self, views, encode):
        """Predict the clusters of masked tokens."""
        (view,) = views
        predicted = self.predict(view, encode)
        loss, logs, assignments = self.clusters(predicted, view, encode)
        watched = {"features": predicted.features.pooled.detach()}
        return Outcome(loss, logs, watched, {"clusters": assignments})

    def after_step(self, progress):
        """Update the teacher of online clusters."""
        self.clusters.after_step(cosine_schedule(self.momentum, 1.0, progress))


class TaughtMaskedClusters(MaskedClusters):
    """Masked prediction of the clusters of a frozen teacher's tokens."""

    needs = replace(MaskedClusters.needs, teacher=True)
