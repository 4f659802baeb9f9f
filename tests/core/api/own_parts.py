"""A user's script, run as one: parts of its own, registered and handed in, with loader workers and on several ranks."""

import sys

import numpy as np
import torch
from torch import nn

import sensorium
from sensorium import Encoder, Features


class Mean(Encoder):
    """Mean of the pixels, mapped linearly."""

    def __init__(self, modality, dim: int = 8):
        super().__init__()
        self.dim, self.map = dim, nn.Linear(3, dim)

    def forward(self, batch):
        return Features(self.map(batch.unit_pixels().mean((2, 3))))


def noisy(x):
    return x + 0.1 * torch.randn_like(x)


def main(folder, *overrides):
    """Train with a registered part, then with parts that are handed in; first weights are not seeded, on purpose."""
    sensorium.register("encoder", "mean", Mean, modality="image")
    images = np.random.default_rng(0).integers(0, 255, (32, 3, 16, 16), dtype=np.uint8)
    recipe = {
        "data": {"batch": 8},
        "modalities": {
            "image": {"modality": {"name": "image", "size": 16}, "views": "simclr", "encoder": "mean"},
        },
        "objective": "simclr",
        "train": {"steps": 3, "accelerator": "cpu"},
    }
    sensorium.fit(recipe, overrides, source=images, run_dir=f"{folder}/registered")
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 8))
    model = sensorium.fit(recipe, overrides, source=images, run_dir=f"{folder}/handed", encoder=network, views=noisy)
    weight = model.plan.learner().encoders["image"].module[1].weight
    print("first weights", weight.sum().item())


if __name__ == "__main__":
    main(*sys.argv[1:])
