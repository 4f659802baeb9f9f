import torch

from sensorium import View
from sensorium.losses.contrastive import info_nce
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality
from sensorium.modalities.text.views import DropoutViews
from sensorium.models.learner import Learner
from sensorium.plugins.contrastive.simcse import SimCSE

TEXTS = ["a cat sleeps", "two dogs run far away", "rain", "the wind blows over the hill"]


def setting(dropout):
    modality = TextModality(vocab=300, length=24)
    modality.fit(TEXTS)
    torch.manual_seed(0)
    encoder = Transformer(modality, width=32, depth=2, heads=2, dropout=dropout)
    batch = modality.collate([modality.decode(t) for t in TEXTS])
    views = DropoutViews(modality)(batch, torch.Generator())
    for view in views:
        view.modality = "text"
    return Learner({"text": encoder}, SimCSE()), {"text": views}, batch


def test_loss_is_equation_1_of_the_heads_output():
    learner, views, batch = setting(0.0)
    with torch.no_grad():
        z = learner.objective.head(learner.encoders["text"](batch).pooled)
        assert torch.allclose(learner(views).loss, info_nce(z, z, 0.05), atol=1e-5)


def test_the_first_view_looks_for_the_second():
    learner, _, batch = setting(0.0)
    views = [View(batch), View(batch.select(torch.tensor([0, 1, 3, 2])))]
    for view in views:
        view.modality = "text"
    with torch.no_grad():
        z = learner.objective.head(learner.encoders["text"](batch).pooled)
        assert torch.allclose(learner({"text": views}).loss, info_nce(z, z[[0, 1, 3, 2]], 0.05), atol=1e-5)


def test_dropout_makes_the_views_and_training_lowers_the_loss():
    learner, views, _ = setting(0.1)
    learner.train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    found = []
    for _ in range(30):
        optimizer.zero_grad()
        outcome = learner(views)
        outcome.loss.backward()
        optimizer.step()
        found.append(float(outcome.loss.detach()))
    assert found[0] > 0
    assert sum(found[-5:]) < 0.5 * sum(found[:5])
    assert all(p.grad is not None for p in learner.parameters())


def test_the_head_serves_training_alone():
    learner, _, batch = setting(0.1)
    learner.eval()
    with torch.no_grad():
        pooled = learner.encoders["text"](batch).pooled
        assert torch.equal(learner.objective.embed("text", pooled), pooled)
