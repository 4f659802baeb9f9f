"""BYOL in plain PyTorch: a predictor, a target network that follows by EMA, and no negatives."""

import copy
import os

import torch
from sklearn.datasets import load_digits
from torch import nn

from sensorium import cosine_schedule, evaluate_features, heads, views
from sensorium.losses import negative_cosine, normalized_std

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None]
train, test = images[:1400], images[1400:]
steps = int(os.environ.get("STEPS", "200"))

encoder = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
)  # fmt: skip
online = nn.Sequential(encoder, heads.prediction_head(256, 256, 64))
predict = heads.prediction_head(64, 128, 64)
target = copy.deepcopy(online).requires_grad_(False)
transform = views.image.simclr(size=8, channels=1, scale=(0.6, 1.0), flip=0.0, strength=0.5)
optimizer = torch.optim.AdamW([*online.parameters(), *predict.parameters()], lr=2e-3)

untrained = [encoder.eval()(x / 255).detach() for x in (train, test)]
encoder.train()
for step in range(steps):
    x1, x2 = transform(train[torch.randint(len(train), (256,))])
    p1, p2 = predict(online(x1)), predict(online(x2))
    with torch.no_grad():
        z1, z2 = target(x1), target(x2)
    loss = negative_cosine(p1, z2) + negative_cosine(p2, z1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    momentum = cosine_schedule(0.98, 1.0, step / steps)
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.data.lerp_(fast.data, 1 - momentum)
    if step % 50 == 0:
        print(f"step {step}: loss {loss.item():.3f}, std of features {normalized_std(z1).item():.2f} (0: collapsed)")

trained, y = [encoder.eval()(x / 255).detach() for x in (train, test)], digits.target
rows = {"untrained": tuple(untrained)}
print(evaluate_features(trained[0], y[:1400], trained[1], y[1400:], evaluators=["knn"], baselines=rows))
