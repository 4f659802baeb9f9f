"""Views inside your own `Dataset`: one image at a time, in the workers of a `DataLoader`, as torchvision's are used."""

import os
from itertools import count

import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sensorium import evaluate_features, heads, views
from sensorium.losses import barlow_twins

digits = load_digits()


class Digits(Dataset):
    """Two views of each image."""

    def __init__(self):
        self.transform = views.image.simclr(size=16, channels=1, scale=(0.5, 1.0), flip=0.0, strength=0.5)

    def __len__(self):
        """Return the number of images of the train part."""
        return 1400

    def __getitem__(self, i):
        """Return tensors (1, 16, 16): a transform takes whatever the modality decodes, also a path, bytes or array."""
        return self.transform(Image.fromarray((digits.images[i] * 15.9).astype("uint8")))


torch.manual_seed(0)  # seeds the workers, and through them every draw of the views
loader = DataLoader(Digits(), batch_size=128, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 128))
project = heads.prediction_head(128, 256, 256)
optimizer = torch.optim.AdamW([*encoder.parameters(), *project.parameters()], lr=2e-3)
batches = (batch for epoch in count() for batch in loader)
for step, (x1, x2) in zip(range(int(os.environ.get("STEPS", "100"))), batches, strict=False):
    loss = barlow_twins(project(encoder(x1)), project(encoder(x2)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.1f}")
pixels = nn.functional.interpolate(torch.tensor(digits.images[:, None] / 16).float(), size=16)
x, y = encoder.eval()(pixels).detach(), digits.target
print(evaluate_features(x[:1400], y[:1400], x[1400:], y[1400:], evaluators=["knn"]))
