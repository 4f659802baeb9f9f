"""SimCLR in plain PyTorch: our views and our loss, your model and your loop."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

from sensorium import evaluate_features, heads, views
from sensorium.losses import nt_xent

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None]  # (1797, 1, 8, 8)
train, test = images[:1400], images[1400:]

encoder = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
    nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
)  # fmt: skip
project = heads.projection_head(128, 128, 64)
transform = views.image.simclr(size=16, channels=1, scale=(0.5, 1.0), flip=0.0, strength=0.5)
optimizer = torch.optim.AdamW([*encoder.parameters(), *project.parameters()], lr=2e-3)


def features(x):
    """Return features (N, 128) of images, in evaluation mode."""
    (plain,) = views.image.plain(size=16, channels=1)(nn.functional.interpolate(x / 255, size=16))
    with torch.no_grad():
        return encoder.eval()(plain)


untrained = features(train), features(test)
encoder.train()
for step in range(int(os.environ.get("STEPS", "150"))):
    x1, x2 = transform(train[torch.randint(len(train), (256,))])
    loss = nt_xent(project(encoder(x1)), project(encoder(x2)), temperature=0.2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 25 == 0:
        print(f"step {step}: loss {loss.item():.3f}")

y = digits.target
baselines = {"raw pixels": (train.flatten(1), test.flatten(1)), "untrained": untrained}
print(evaluate_features(features(train), y[:1400], features(test), y[1400:], evaluators=["knn"], baselines=baselines))
