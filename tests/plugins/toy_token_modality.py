"""Short sequences of small vectors as tokens, and a real attention encoder of them: objectives are tried on these."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium import Batch, Features, TokenEncoder, Tokens, View, at_least_one_row
from sensorium.models.learner import Learner

CHANNELS, LENGTH = 3, 12


@dataclass
class Sequences(Batch):
    """float (B, T, C), with a mask (B, T) where rows differ in length."""

    x: Tensor
    mask: Tensor | None = None


class SequenceEncoder(TokenEncoder):
    """One block of attention over embedded tokens. Targets are the vectors, or which of their channels is largest.

    It can be called causal where what it costs to look ahead is not the question.
    """

    def __init__(
        self, dim: int = 16, classes: bool = False, grid: tuple[int, int] | None = None, causal: bool = False
    ) -> None:
        super().__init__()
        self.is_causal = causal
        self.dim, self.target_dim, self.classes = dim, CHANNELS, classes
        if grid:
            self.grid = grid
        self.embed = nn.Linear(CHANNELS, dim)
        self.positions = nn.Parameter(torch.randn(LENGTH, dim))
        self.block = nn.TransformerEncoderLayer(dim, 2, 32, dropout=0.0, batch_first=True, norm_first=True)

    def tokenize(self, batch):
        return Tokens(self.embed(batch.x), self.positions[None, : batch.x.shape[1]], batch.mask)

    def encode_tokens(self, tokens, keep=None):
        tokens = tokens if keep is None else tokens.take(keep)
        x, mask = tokens.x + tokens.positions, tokens.mask
        rows = at_least_one_row(x), None if mask is None else at_least_one_row(~mask)
        x = self.block(rows[0], src_key_padding_mask=rows[1])[: len(x)]
        if mask is None:
            return Features(x.mean(1), x)
        return Features((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), x, mask)

    def token_targets(self, batch):
        return batch.x.argmax(-1) if self.classes else batch.x


def sequences(lengths=(12, 7, 2, 1, 5), seed=0, dtype=torch.float32, padded=True):
    """A batch of slow waves, whose absent tokens can be guessed; padding holds large numbers that nobody may read."""
    rng = torch.Generator().manual_seed(seed)
    phase = 6.3 * torch.rand(len(lengths), 1, CHANNELS, generator=rng, dtype=dtype)
    x = torch.sin(phase + torch.arange(max(lengths), dtype=dtype)[:, None] / 2)
    if not padded:
        return Sequences(x)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Sequences(torch.where(mask[..., None], x, 1e4), mask)


def view_of(batch, **parts):
    return View(batch, modality="toy", **parts)


def learner_of(objective, seed=0, **encoder):
    torch.manual_seed(seed)
    return Learner({"toy": SequenceEncoder(**encoder)}, objective)


def losses_while_training(learner, views, steps=30, rate=3e-3, same_draws=True):
    """Train and return the loss of each step; every step draws alike, so that the loss falls if anything is learned."""
    learner.train()
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=rate)
    found = []
    for step in range(steps):
        torch.manual_seed(0 if same_draws else step)
        optimizer.zero_grad()
        outcome = learner(views)
        outcome.loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / steps)
        found.append(float(outcome.loss.detach()))
    assert all(p.grad is not None for p in learner.parameters() if p.requires_grad)
    return found
