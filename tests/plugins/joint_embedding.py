"""Toy learners and views for objectives that compare views of one record."""

from __future__ import annotations

import torch

from sensorium import View
from sensorium.models.learner import Learner
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import seed_globals
from tests.plugins.toy_tokens import StepBatch, StepEncoder
from tests.toys import MLP, VectorBatch, VectorModality

PROTOTYPES = {"prototypes": 24, "width": 32, "bottleneck": 8}
OPTIONS = {
    "simclr": {"width": 32, "dim": 8},
    "supervised-contrastive": {"width": 32, "dim": 8, "temperature": 0.2},
    "moco": {"width": 32, "dim": 8, "queue": 40},
    "moco-v3": {"width": 32, "dim": 8},
    "nnclr": {"width": 32, "dim": 8, "queue": 40},
    "byol": {"width": 32, "dim": 8},
    "simsiam": {"width": 32, "bottleneck": 8},
    "dino": PROTOTYPES,
    "ibot": PROTOTYPES,
    "dinov2": PROTOTYPES,
    "barlow-twins": {"width": 32, "dim": 8},
    "vicreg": {"width": 32, "dim": 8},
    "w-mse": {"width": 32, "dim": 8},
    "swav": {"prototypes": 12, "width": 32, "dim": 8},
}
"""Every objective of joint embedding with options that make it small."""
MULTICROP = ("dino", "ibot", "dinov2", "swav")
TOKENS = ("ibot", "dinov2")


def objective_class(name):
    return load_extensions({}, []).registry.find("objectives", name).load()


def learner_of(name, dropout=0.0, **options):
    """A learner in training mode, the same one every time."""
    seed_globals("learner", name)
    encoder = StepEncoder() if name in TOKENS else MLP(VectorModality(8), dropout=dropout)
    return Learner({"a": encoder}, objective_class(name)(**OPTIONS[name] | options)).train()


def views_of(name, count=12, seed=0, small=True, noise=0.1, dtype=torch.float32):
    """Two noisy views of `count` records, and for those that take them two small ones; the last are half as long."""
    rng = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(count, 8, 4, generator=rng)
    lengths = torch.tensor([8, 5, 8, 6]).repeat(count // 4 + 1)[:count]
    views = []
    for number in range(4 if small and name in MULTICROP else 2):
        noisy = (x + noise * torch.randn(x.shape, generator=rng)).to(dtype)
        t = 8 if number < 2 else 4
        if name in TOKENS:
            batch = StepBatch(noisy[:, :t], lengths.clamp(max=t))
        else:
            batch = VectorBatch(noisy[:, :, 0] * (torch.arange(8) < 2 * t))
        keys = {"record": torch.arange(count), "group": torch.arange(count)}
        views.append(View(batch, modality="a", keys=keys))
    return {"a": views}


def step(learner, views, optimizer, number, steps=10, sign=1):
    """One step as the trainer takes it, along `sign` times the loss; returns the outcome."""
    seed_globals("step", number)
    outcome = learner(views)
    optimizer.zero_grad()
    (sign * outcome.loss).backward()
    optimizer.step()
    learner.objective.after_step((number + 1) / steps)
    return outcome
