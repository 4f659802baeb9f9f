"""SigLIP."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn

from sensorium import NegativeOptions, Outcome, losses
from sensorium.plugins.crossmodal.cross_modal_objective import CrossModalObjective


class SigLIP(CrossModalObjective):
    """SigLIP: sigmoid loss for language-image pre-training (Zhai et al. 2023, algorithm 1), of any two modalities.

    Every pair of the batch is a binary classification of its own: match or no match. There is no softmax over
    negatives, so the loss means the same at every batch size, and the options of `negatives` that reweight or filter a
    softmax (`beta`, `alpha`, `prior`, `guide`) do not apply. Records that lack one of the two modalities are left out.

    Args:
        temperature: initial value of the learned temperature, > 0.
        bias: initial value of the learned logit bias; -10 suits batches of thousands, -2.7 some hundreds.
    """

    needs = replace(CrossModalObjective.needs, modalities=2)
    unused_negatives = ("beta", "alpha", "prior", "guide", "margin")

    def __init__(
        self, dim: int = 256, temperature: float = 0.1, bias: float = -10.0, negatives: NegativeOptions | None = None
    ) -> None:
        super().__init__(dim, negatives)
        if negatives:
            negatives.refuse("siglip", self.unused_negatives)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))  # (1,): FSDP shards no scalars
        self.bias = nn.Parameter(torch.tensor([bias]))

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.build_space(encoders, [tuple(encoders)])

    def forward(self, views, encode):
        """Classify every pair of records that have both modalities."""
        batch, (modalities,) = self.project.embed(views, encode), self.modality_pairs
        pair, scale, bias = batch.pair(*modalities), self.log_scale.exp().squeeze(), self.bias.squeeze()
        loss = losses.siglip(pair.x, pair.y, scale, bias, **self.extra_negatives(batch, modalities, pair))
        self.update_memory(batch)
        logs = {"scale": scale.detach(), "bias": bias.detach(), "pairs": torch.tensor(float(len(pair.x)))}
        features = {name: z.detach() for name, z in zip(modalities, pair[:2], strict=True)}
        return Outcome(loss, logs | self.negatives.logs(), features)

    def logit_parameters(self):
        """Return the log of the learned logit scale and the logit bias, scalars."""
        return {"log_scale": self.log_scale.detach().squeeze(), "bias": self.bias.detach().squeeze()}
