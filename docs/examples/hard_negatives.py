"""Hard negatives in your own loop: their weights, debiasing, and a queue of earlier batches."""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

from sensorium import FeatureQueue, evaluate_features, views
from sensorium.losses import NegativeRows, hcl, nt_xent

digits = load_digits()
images, y = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None], digits.target
transform = views.image.simclr(size=8, channels=1, scale=(0.6, 1.0), flip=0.0, strength=0.5)


def plain(z1, z2, queue):
    """NT-Xent: every negative has the same weight."""
    return nt_xent(z1, z2, temperature=0.2)


def hard(z1, z2, queue):
    """Negatives weighted by their similarity (beta), corrected for the one in ten of the same digit (prior)."""
    loss = hcl(z1, z2, 0.2, beta=0.5, prior=0.1, extra_negatives=[NegativeRows(queue.rows)])
    queue.push(z1)
    return loss


def train(loss_of):
    """Return features of all images after a training with a loss."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128))
    queue, optimizer = FeatureQueue(512, 128), torch.optim.AdamW(encoder.parameters(), lr=2e-3)
    for _ in range(int(os.environ.get("STEPS", "300"))):
        x1, x2 = transform(images[torch.randint(1400, (64,))])
        loss = loss_of(encoder(x1), encoder(x2), queue)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        queue.commit()  # what was pushed in this step are negatives from the next one on
    return encoder.eval()(images / 255).detach()


rows = {name: train(loss) for name, loss in (("nt_xent", plain), ("hcl", hard))}
pairs = {name: (x[:1400], x[1400:]) for name, x in rows.items()}
pixels = (images[:1400].flatten(1), images[1400:].flatten(1))
given = {"raw pixels": pixels, "NT-Xent": pairs["nt_xent"]}
print(evaluate_features(pairs["hcl"][0], y[:1400], pairs["hcl"][1], y[1400:], evaluators=["knn"], baselines=given, name="HCL"))
