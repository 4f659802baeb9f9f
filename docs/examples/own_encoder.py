"""Your own encoder under a registered objective: a class with `dim` and `forward(batch) -> Features`."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

from sensorium import Encoder, Features, Learner, build, evaluate_features, views


class ResidualMLP(Encoder):
    """Flattened pixels through two residual blocks."""

    def __init__(self, inputs, dim):
        super().__init__()
        self.dim = dim
        self.stem = nn.Linear(inputs, dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)) for _ in "12"
        )

    def forward(self, batch):
        """Return pooled features (B, dim) of an image batch."""
        x = self.stem(batch.unit_pixels().flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return Features(x)


torch.manual_seed(0)
digits = load_digits()
images, y = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None], digits.target
transform = views.image.simclr(size=8, channels=1, scale=(0.6, 1.0), flip=0.0, strength=0.5)
learner = Learner({"image": ResidualMLP(64, 128)}, build("objective", "vicreg", width=256, dim=256))
optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
as_is = views.image.plain(modality=transform.modality).views(images)[0].batch

untrained = learner.encode("image", as_is)["features"].detach()
for step in range(int(os.environ.get("STEPS", "300"))):
    loss = learner(transform.views(images[torch.randint(1400, (256,))])).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.2f}")
x = learner.encode("image", as_is)["features"].detach()
rows = {"untrained": (untrained[:1400], untrained[1400:])}
print(evaluate_features(x[:1400], y[:1400], x[1400:], y[1400:], evaluators=["knn"], baselines=rows))
