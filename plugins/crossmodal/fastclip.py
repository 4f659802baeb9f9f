"""FastCLIP."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sensorium import Needs, Outcome, collectives, exactly_two, losses
from sensorium.plugins.crossmodal.joint_objective import JointObjective


class FastCLIP(JointObjective):
    """CLIP for small batches: each record's normalizer is a running mean over the steps (Wei et al. 2024, RGCL-g).

    In a small batch the mean over a record's negatives is noisy, and CLIP's loss is biased by it. Here each record has
    a slot, by its id, that keeps the mean over the batches it has been in. Records that lack one of the two modalities
    are left out.

    Args:
        temperature: where the learned temperature starts.
        least: the temperature is held at or above this.
        rho: what holds the temperature up; the paper takes 6.5 on 2.7 million records, and more with more.
        rate: share of the new mean in the running one at the end; it falls from 1 along a half cosine.
        decay: over which share of the training it falls.
        slots: how many running means are kept; records that meet in one share it, so take more than records.
    """

    needs = Needs(views=1, modalities="many")
    running_S2: Tensor
    rate_now: Tensor

    def __init__(
        self,
        dim: int = 256,
        temperature: float = 0.07,
        least: float = 0.01,
        rho: float = 6.5,
        rate: float = 0.2,
        decay: float = 0.5,
        slots: int = 65536,
    ) -> None:
        super().__init__(dim, None)
        self.rho, self.rate, self.decay = rho, rate, decay
        self.least_log = math.log(least)
        self.log_temperature = nn.Parameter(torch.tensor([math.log(temperature)]))  # (1,): FSDP shards no scalars
        self.register_buffer("running_S2", torch.full((slots, 2), losses.LOG_ZERO))
        self.register_buffer("rate_now", torch.ones(()))

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.build_space(encoders, [exactly_two(encoders, "fastclip")])

    def forward(self, views, encode):
        """Contrast the records that have both modalities, and move their running means."""
        (edge,) = self.edges
        pair, temperature = self.project.place(views, encode, self.edges).pair(*edge), self.log_temperature.exp()[0]
        gaps_B2 = losses.log_normalizers(pair.x, pair.y, 1 / temperature)
        running_B2 = self.moved(pair.keys["record"] % len(self.running_S2), gaps_B2.detach())
        loss = losses.global_contrastive(gaps_B2, running_B2, temperature, self.rho)
        logs = {"temperature": temperature.detach(), "pairs": torch.tensor(float(len(pair.x)))}
        return Outcome(loss, logs, {name: z.detach() for name, z in zip(edge, pair[:2], strict=True)})

    @torch.no_grad()
    def moved(self, slots_B: Tensor, gaps_B2: Tensor) -> Tensor:
        """Return the records' running means (B, 2) with this step's in them; in training all ranks keep them."""
        moved_B2 = losses.log_ema(self.running_S2[slots_B].to(gaps_B2.dtype), gaps_B2, self.rate_now)
        if self.training:
            slots_M, moved_M2 = collectives.all_gather(slots_B)[0], collectives.all_gather(moved_B2)[0]
            self.running_S2 = self.running_S2.index_copy(0, slots_M, moved_M2.to(self.running_S2.dtype))
        return moved_B2

    def logit_parameters(self):
        """Return the log of the scale, a scalar: minus that of the learned temperature."""
        return {"log_scale": -self.log_temperature.detach().squeeze()}

    def after_step(self, progress):
        """Hold the temperature at or above its bound, and lower the rate."""
        self.log_temperature.data.clamp_(self.least_log, 0.0)
        share = min(progress / self.decay, 1.0) if self.decay else 1.0
        self.rate_now.fill_(self.rate + (1 - self.rate) * 0.5 * (1 + math.cos(math.pi * share)))
