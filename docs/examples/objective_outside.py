"""An objective outside the trainer: MoCo's momentum encoder and queue in your loop, and a checkpoint to resume from."""

import copy
import os

import torch
from sklearn.datasets import load_digits

from sensorium import Learner, build, evaluate_features, views

digits = load_digits()
images, y = torch.tensor(digits.images * 15.9, dtype=torch.uint8)[:, None], digits.target
transform = views.image.simclr(size=16, channels=1, scale=(0.5, 1.0), flip=0.0, strength=0.5)
steps = int(os.environ.get("STEPS", "200"))


def fresh():
    """Return a learner and its optimizer."""
    torch.manual_seed(0)
    objective = build("objective", "moco", queue=1024, momentum=0.95, temperature=0.2, width=128, dim=64)
    learner = Learner({"image": build("encoder", "cnn", transform.modality, width=32, depth=3)}, objective)
    return learner, torch.optim.AdamW(learner.parameters(), lr=2e-3)


def train(learner, optimizer, first, last):
    """Take the steps from `first` to `last`; return the last loss."""
    for step in range(first, last):
        torch.manual_seed(step)  # the draws of a step are a function of its number: a resume repeats them
        rows = torch.randint(1400, (128,))
        loss = learner(transform.views(images[rows], keys={"record": rows})).loss  # keys: no row is its own negative
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.objective.after_step((step + 1) / steps)  # the momentum encoder and the queue move here
    return loss.item()


learner, optimizer = fresh()
train(learner, optimizer, 0, steps // 2)
checkpoint = copy.deepcopy({"learner": learner.state_dict(), "optimizer": optimizer.state_dict()})
whole = train(learner, optimizer, steps // 2, steps)
resumed, its_optimizer = fresh()
resumed.load_state_dict(checkpoint["learner"])
its_optimizer.load_state_dict(checkpoint["optimizer"])
print(f"loss {whole}, after a resume {train(resumed, its_optimizer, steps // 2, steps)}")
(view,) = views.image.plain(modality=transform.modality).views(torch.nn.functional.interpolate(images / 255, size=16))
x = resumed.eval().encode("image", view.batch)["features"].detach()
print(evaluate_features(x[:1400], y[:1400], x[1400:], y[1400:], evaluators=["knn"]))
