"""A toy token encoder: vectors of numbers in time, padded, whose tokens see each other through their mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium import Batch, Features, TokenEncoder, Tokens


@dataclass
class StepBatch(Batch):
    """float (B, T, C), and lengths int64 (B,)."""

    x: Tensor
    lengths: Tensor


class StepEncoder(TokenEncoder):
    """Each time step is a token; pooled features are the mean of the real ones."""

    def __init__(self, dim: int = 12, channels: int = 4) -> None:
        super().__init__()
        self.dim, self.target_dim = dim, channels
        self.embed = nn.Linear(channels, dim)
        self.mix = nn.Sequential(nn.Linear(2 * dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def tokenize(self, batch):
        t = batch.x.shape[1]
        steps = torch.linspace(-1, 1, t, dtype=batch.x.dtype)[None, :, None].expand(1, -1, self.dim)
        return Tokens(self.embed(batch.x), steps, torch.arange(t) < batch.lengths[:, None])

    def encode_tokens(self, tokens, keep=None):
        x = tokens.x + tokens.positions
        x = x + self.mix(torch.cat([x, self.mean(x, tokens.mask)[:, None].expand_as(x)], dim=2))
        return Features(self.mean(x, tokens.mask), x, tokens.mask)

    def mean(self, x, mask):
        return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def token_targets(self, batch):
        return batch.x
