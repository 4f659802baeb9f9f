"""Sequences of ids of any length, padded in a batch: what mutants of encoders and view generators are tried on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium import BadSample, Batch, Modality

SAMPLES = [[3, 1, 4, 1, 5, 2], [2, 7, 1, 6], [1, 6, 1, 3, 3, 0, 2, 5], [5, 5, 2]]


@dataclass
class Ids(Batch):
    """Ids int64 (B, T) and their padding mask, bool (B, T)."""

    ids: Tensor
    mask: Tensor


class Sequences(Modality):
    """Lists of ids; it learns how many there are."""

    def __init__(self):
        self.size = None

    @property
    def is_fitted(self):
        return self.size is not None

    def fit(self, raws):
        self.size = 1 + max(max(raw) for raw in raws)

    def state(self):
        return {"size": self.size}

    def load_state(self, state):
        self.size = state["size"]

    def decode(self, raw):
        if not isinstance(raw, list) or not raw or not all(isinstance(one, int) for one in raw):
            raise BadSample("no list of ids")
        return torch.tensor(raw)

    def collate(self, examples):
        length = max(map(len, examples))
        pad = [(0, length - len(example)) for example in examples]
        ids = torch.stack([torch.nn.functional.pad(one, by) for one, by in zip(examples, pad, strict=True)])
        return Ids(ids, torch.arange(length) < torch.tensor([[len(one)] for one in examples]))
