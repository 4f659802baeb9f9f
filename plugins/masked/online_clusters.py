"""Clusters of CAPI: an EMA teacher's tokens, assigned to prototypes that learn online.

Letters: B records, T tokens, M masked tokens, K prototypes, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Assignments, Encoders, Teacher, check_range, collectives, heads, losses, take_tokens
from sensorium.errors import RecipeError
from sensorium.plugins.masked.cluster_targets import ClusterTargets
from sensorium.plugins.masked.masked_prediction import Predicted


@dataclass(frozen=True)
class Online:
    """Options of the targets "online".

    Args:
        bins: number of bins of relative positions, within each of which the tokens of a batch are spread evenly over
            the clusters; as many as there are tokens is one for each position, as in the paper, 1 is none.
        temperature: softmax temperature of predictions, > 0.
        target_temperature: temperature of the assignments, > 0; the smaller, the sharper.
        iterations: iterations of Sinkhorn-Knopp, >= 1.
    """

    bins: int = 16
    temperature: float = 0.12
    target_temperature: float = 0.06
    iterations: int = 3

    def __post_init__(self) -> None:
        counts = {"online.bins": self.bins, "online.iterations": self.iterations}
        check_range("objective 'masked-clusters'", "[1, inf)", **counts)
        temperatures = {"online.temperature": self.temperature, "online.target_temperature": self.target_temperature}
        check_range("objective 'masked-clusters'", "(0, inf)", **temperatures)


class OnlineTargets(ClusterTargets):
    """Targets of CAPI (Darcet et al. 2025): an EMA teacher's tokens, assigned to prototypes evenly at each position.

    The clustering head, a linear map of the teacher's unit tokens, learns from the assignments themselves, by a
    cross-entropy whose gradient ends there; the paper gives it an optimizer of its own at half the learning rate, here
    it is trained with everything else. Predictions are cosines with learned embeddings of the clusters.

    Args:
        clusters: K, no more than a bin of positions has tokens in the joined batch; beyond, assignments turn uniform.
        options: bins, temperatures and iterations.
    """

    def __init__(self, clusters: int, options: Online) -> None:
        super().__init__(clusters)
        self.options = options
        self._has_rows = False

    def build(self, encoders: Encoders, dim: int) -> None:
        """Make the teacher, the clustering head and the head of predictions."""
        self.teacher = Teacher(encoders)
        self.assign = nn.Linear(encoders.single.token_dim, self.clusters)
        nn.init.normal_(self.assign.weight)
        nn.init.zeros_(self.assign.bias)
        self.head = heads.Prototypes(dim, self.clusters)

    def forward(self, predicted: Predicted, view: Any, encode: Any) -> tuple[Tensor, dict[str, Tensor], Assignments]:
        """Return the loss of predictions and of the clustering head, and what is logged."""
        with torch.no_grad():
            (taught,) = encode.using(self.teacher.encoders)([view])
        valid_BT, temperature = taught.valid(), self.options.temperature
        self.check_rows(valid_BT)
        with torch.autocast(predicted.x_BMD.device.type, enabled=False):
            scores_BTK = self.assign(F.normalize(taught.tokens.to(self.assign.weight.dtype), dim=-1))
        targets_BTK = losses.positionwise_sinkhorn(
            scores_BTK.detach(), valid_BT, self.options.bins, self.options.target_temperature, self.options.iterations
        )
        clustering = losses.soft_token_cross_entropy(scores_BTK, targets_BTK, valid_BT, temperature)
        prediction = losses.soft_token_cross_entropy(
            self.head(predicted.x_BMD), take_tokens(targets_BTK, predicted.index_BM), predicted.mask_BM, temperature
        )
        codes_N1 = scores_BTK.argmax(-1).flatten()[:, None]
        logs = {
            "prediction": prediction.detach(),
            "clustering": clustering.detach(),
            "code_perplexity": losses.code_perplexity(codes_N1, self.clusters, valid_BT.flatten()),
        }
        return prediction + clustering, logs, Assignments(*losses.assignment_perplexity(targets_BTK, valid_BT))

    def check_rows(self, valid_BT: Tensor) -> None:
        """Raise at the first step of a training whose batches are too small: the device is not read.

        Raises:
            RecipeError: when a bin of positions has fewer tokens in the joined batch than there are clusters.
        """
        if not self.training or self._has_rows:
            return
        bins = min(self.options.bins, max(*collectives.rank_sizes(valid_BT.shape[1]), 1))
        rows = sum(collectives.rank_sizes(valid_BT.numel())) // bins
        if rows < self.clusters:
            raise RecipeError(
                f"The objective 'masked-clusters' spreads the tokens of a batch evenly over {self.clusters} clusters, "
                f"and has {rows} of them in each of {bins} bins of positions, so that assignments would mean nothing: "
                "lower objective.clusters or objective.online.bins, or raise data.batch."
            )
        self._has_rows = True

    def after_step(self, momentum: float) -> None:
        """Update the teacher."""
        self.teacher.update(momentum)
