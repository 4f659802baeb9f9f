"""FastCLIP."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sensorium import Needs, Outcome, collectives, losses
from sensorium.plugins.crossmodal.cross_modal_objective import CrossModalObjective


class FastCLIP(CrossModalObjective):
    """FastCLIP (Wei et al. 2024, robust global contrastive loss RGCL-g): CLIP for small batches.

    In a small batch the normalizer of the softmax is noisy, which biases CLIP's loss. Here each record keeps an EMA of
    its normalizer over the batches that it has been in. Records that lack one of the two modalities are left out.

    Args:
        temperature: initial value of the learned temperature, > 0.
        min_temperature: lower bound of the learned temperature, > 0.
        rho: robustness parameter, which keeps the temperature up, >= 0; the paper's is 6.5 on 2.7 million records.
        gamma: inner learning rate, the weight of the new normalizer in the EMA, at its end; it decays from 1.
        gamma_decay: fraction of the training in which gamma decays, along a half cosine, 0 to 1.
        slots: number of normalizers kept; a record's is its id modulo this, so take more slots than records.
    """

    needs = Needs(views=1, modalities=2)
    running_S2: Tensor
    new_slots: Tensor
    new_running: Tensor
    gamma_now: Tensor

    def __init__(
        self,
        dim: int = 256,
        temperature: float = 0.07,
        min_temperature: float = 0.01,
        rho: float = 6.5,
        gamma: float = 0.2,
        gamma_decay: float = 0.5,
        slots: int = 65536,
    ) -> None:
        super().__init__(dim, None)
        self.rho, self.gamma, self.gamma_decay = rho, gamma, gamma_decay
        self.min_log_temperature = math.log(min_temperature)
        self.log_temperature = nn.Parameter(torch.tensor([math.log(temperature)]))  # (1,): FSDP shards no scalars
        self.register_buffer("running_S2", torch.full((slots, 2), losses.LOG_ZERO))
        self.register_buffer("gamma_now", torch.ones(()))
        self.register_buffer("new_slots", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("new_running", torch.empty(0, 2), persistent=False)

    def build(self, encoders):
        """Make a linear map to the joint space for each of the two modalities."""
        self.build_space(encoders, [tuple(encoders)])

    def forward(self, views, encode):
        """Contrast the records that have both modalities, and update their normalizers."""
        (modalities,), temperature = self.modality_pairs, self.log_temperature.exp()[0]
        pair = self.project.embed(views, encode).pair(*modalities)
        log_normalizers_B2 = losses.log_normalizers(pair.x, pair.y, 1 / temperature)
        running_B2 = self.updated(pair.key("record") % len(self.running_S2), log_normalizers_B2.detach())
        loss = losses.global_contrastive(log_normalizers_B2, running_B2, temperature, self.rho)
        logs = {"temperature": temperature.detach(), "pairs": torch.tensor(float(len(pair.x)))}
        return Outcome(loss, logs, {name: z.detach() for name, z in zip(modalities, pair[:2], strict=True)})

    @torch.no_grad()
    def updated(self, slots_B: Tensor, log_normalizers_B2: Tensor) -> Tensor:
        """Return the records' EMA normalizers (B, 2) with this step's in them; in training `after_step` stores them."""
        updated_B2 = losses.log_ema(
            self.running_S2[slots_B].to(log_normalizers_B2.dtype), log_normalizers_B2, self.gamma_now
        )
        if self.training:
            slots_M, updated_M2 = collectives.all_gather(slots_B)[0], collectives.all_gather(updated_B2)[0]
            self.new_slots = torch.cat([self.new_slots, slots_M])
            self.new_running = torch.cat([self.new_running, updated_M2.to(self.running_S2.dtype)])
        return updated_B2

    def logit_parameters(self):
        """Return the log of the logit scale, a scalar: minus that of the learned temperature."""
        return {"log_scale": -self.log_temperature.detach().squeeze()}

    def after_step(self, progress):
        """Store the normalizers of all ranks' records, clamp the temperature, and decay gamma."""
        self.running_S2.index_copy_(0, self.new_slots, self.new_running)
        self.new_slots, self.new_running = self.new_slots.new_empty(0), self.new_running.new_empty(0, 2)
        self.log_temperature.data.clamp_(self.min_log_temperature, 0.0)
        decayed = min(progress / self.gamma_decay, 1.0) if self.gamma_decay else 1.0
        self.gamma_now.fill_(self.gamma + (1 - self.gamma) * 0.5 * (1 + math.cos(math.pi * decayed)))
