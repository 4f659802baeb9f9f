"""MoCo v2."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from sensorium import (
    FeatureQueue,
    Needs,
    NegativeOptions,
    NegativePool,
    Objective,
    Outcome,
    Teacher,
    TrainingSize,
    View,
    collectives,
    losses,
)


class MoCo(Objective):
    """MoCo v2: momentum contrast with a queue (He et al. 2020, eq. 1; Chen et al. 2020).

    InfoNCE of the first view with a momentum encoder's key of the second; negatives are the keys of earlier batches, in
    a queue. Keys are encoded in random splits of the batch, which is shuffling BN (section 3.3) within a rank.

    Args:
        temperature: softmax temperature, > 0; the paper's is 0.2.
        momentum: of the momentum encoder, in [0, 1).
        queue: number of keys in the queue.
        bn_splits: number of random splits in which keys are encoded, of two records or more, >= 1.
        width: hidden width of the projection head.
        dim: output width of the projection head.
        negatives: options of negatives; their memory bank is the queue.
    """

    needs = Needs(views=2)
    unused_negatives = ("guide", "margin", "memory")
    remedy = "raise objective.momentum, so that the teacher moves more slowly"
    auto = {"queue": lambda scale: scale.power_of_two(1 / 8, 64, 65_536), "momentum": TrainingSize.momentum}

    def __init__(
        self,
        temperature: float = 0.2,
        momentum: float = 0.99,
        queue: int = 4096,
        bn_splits: int = 4,
        width: int = 2048,
        dim: int = 128,
        negatives: NegativeOptions | None = None,
    ) -> None:
        super().__init__()
        self.momentum, self.bn_splits, self.width, self.dim = momentum, bn_splits, width, dim
        (negatives or NegativeOptions()).refuse("moco", self.unused_negatives)
        self.temperature, self.negative_options = temperature, replace(negatives or NegativeOptions(), memory=queue)
        self.record_keys = self.negative_options.record_keys

    def build(self, encoders):
        """Make the projection head, the momentum encoder and the queue."""
        first = nn.Linear(encoders.single.dim, self.width)
        self.project = nn.Sequential(first, nn.ReLU(inplace=True), nn.Linear(self.width, self.dim))
        self.teacher = Teacher(encoders, project=self.project)
        self.negatives = NegativePool(self.negative_options, encoders, self.dim, memory_after_warmup=False)

    @property
    def queue(self) -> FeatureQueue:
        """The keys of earlier batches."""
        (memory,) = self.negatives.memories.values()
        return memory  # type: ignore[return-value]

    def forward(self, views, encode):
        """Contrast the first view with keys of the second, then push those to the queue."""
        first, second = views
        (features,) = encode([first])
        q_BD = self.project(features.pooled)
        k_BD = self.keys(second, encode.using(self.teacher.encoders))
        name, ids_B, weights = first.modality, self.negatives.ids(first.keys), self.negatives.weights()
        negatives = self.negatives.extra_negatives(name, q_BD, ids_B)
        loss = losses.queue_info_nce(q_BD, k_BD, negatives, self.temperature, ids_B=ids_B, **weights)
        if self.training:
            self.negatives.push(name, k_BD, first.keys)
        watched = {"features": features.pooled.detach(), "projection": q_BD.detach()}
        return Outcome(loss, self.negatives.logs(), watched)

    @torch.no_grad()
    def keys(self, view, encode):
        """Return the momentum encoder's keys of a view, encoded in random splits, as many on every rank."""
        order_B = torch.randperm(len(view), device=view.batch.device)
        splits = order_B.tensor_split(max(min(self.bn_splits, min(collectives.rank_sizes(len(view))) // 2), 1))
        keys = [encode([View(view.batch.select(split), modality=view.modality)])[0].pooled for split in splits]
        return self.teacher.heads["project"](torch.cat(keys))[order_B.argsort()]

    def after_step(self, progress):
        """Update the momentum encoder, and follow the schedule of the negatives."""
        self.teacher.update(self.momentum)
        self.negatives.after_step(progress)
