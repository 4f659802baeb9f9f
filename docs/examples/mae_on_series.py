"""MAE on time series: a registered encoder and objective, by name, in a loop of your own."""

import os

import torch

from sensorium import Learner, build, evaluate_features, views

torch.manual_seed(0)


def series(count):
    """Return waves float (N, 1, 96) of five shapes, at any phase and in noise, and their shapes."""
    shape, phase = torch.randint(5, (count,)), 6.28 * torch.rand(count, 1)
    t = torch.linspace(0, 6 * 6.28, 96) + phase
    waves = torch.stack([t.sin(), t.sin().sign(), (2 * t).sin(), t.sin() * (t / 3).sin(), t.sin().abs()])
    return waves[shape, torch.arange(count)][:, None] + 0.5 * torch.randn(count, 1, 96), shape


(train, y_train), (test, y_test) = series(1000), series(500)
transform = views.timeseries.plain(channels=1)
encoder = build("encoder", "patch-transformer", transform.modality, patch=4, width=64, depth=2)
learner = Learner({"series": encoder}, build("objective", "mae", mask_ratio=0.6, width=64))
optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)


def features(x):
    """Return pooled features (N, 64), in evaluation mode."""
    (view,) = transform.views(x)
    with torch.no_grad():
        return learner.eval().encoders["series"](view.batch).pooled


untrained = features(train), features(test)
learner.train()
for step in range(int(os.environ.get("STEPS", "300"))):
    outcome = learner(transform.views(train[torch.randint(len(train), (128,))]))
    optimizer.zero_grad()
    outcome.loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step}: reconstruction error of masked patches {outcome.loss.item():.3f}")

baselines = {"raw values": (train.flatten(1), test.flatten(1)), "untrained": untrained}
print(evaluate_features(features(train), y_train, features(test), y_test, evaluators=["linear"], baselines=baselines))
