"""Hard negatives in your own loop: weighted by their similarity, and corrected for false negatives."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

from sensorium import evaluate_features, views
from sensorium.losses import hcl, nt_xent

digits = load_digits()
images, y = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None], digits.target
transform = views.image.simclr(size=8, channels=1, scale=(0.6, 1.0), flip=0.0, strength=0.5)


def plain(z1, z2):
    """NT-Xent: every negative has the same weight."""
    return nt_xent(z1, z2, temperature=0.2)


def hard(z1, z2):
    """HCL: the more similar a negative, the larger its weight (beta); one negative in ten is of the same digit."""
    return hcl(z1, z2, temperature=0.2, beta=0.5, prior=0.1)


def train(loss_of):
    """Return features of all images after a training with a loss."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
    for step in range(int(os.environ.get("STEPS", "300"))):
        x1, x2 = transform(images[torch.randint(1400, (64,))])
        loss = loss_of(encoder(x1), encoder(x2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"{loss_of.__name__}, step {step}: loss {loss.item():.3f}")
    x = encoder.eval()(images / 255).detach()
    return x[:1400], x[1400:]


baselines = {"raw pixels": (images[:1400].flatten(1), images[1400:].flatten(1)), "NT-Xent": train(plain)}
x_train, x_test = train(hard)
print(evaluate_features(x_train, y[:1400], x_test, y[1400:], evaluators=["knn"], baselines=baselines, name="HCL"))
