import math

import pytest
import torch
from torch import nn

from sensorium import Encoders
from sensorium.errors import RecipeError
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality
from sensorium.modalities.text.views import PlainViews
from sensorium.models.learner import Learner
from sensorium.plugins.pretext.next_token import NextToken

TEXTS = ["abcabcabcabc", "bcabca", "cab"]


@pytest.fixture
def modality():
    made = TextModality("characters", length=16)
    made.fit(TEXTS)
    return made


@pytest.fixture
def learner(modality):
    torch.manual_seed(0)
    encoder = Transformer(modality, width=32, depth=2, heads=2, causal=True, pool="end")
    return Learner({"text": encoder}, NextToken())


def views_of(modality, texts):
    (view,) = PlainViews(modality)(modality.collate([modality.decode(t) for t in texts]), torch.Generator())
    view.modality = "text"
    return {"text": [view]}


def test_loss_is_the_mean_over_every_transition(modality, learner):
    with torch.no_grad():
        outcome = learner(views_of(modality, TEXTS))
        total, count = 0.0, 0
        for text in TEXTS:
            ids = modality.decode(text)
            for t in range(1, len(ids)):
                seen = modality.collate([ids[:t]])
                logits = learner.objective.head(learner.encoders["text"](seen).tokens[0, -1])
                total -= float(logits.log_softmax(0)[ids[t]])
                count += 1
    assert count == sum(len(text) - 1 for text in TEXTS)
    assert math.isclose(outcome.loss, total / count, rel_tol=1e-5)
    assert math.isclose(outcome.logs["bits_per_token"], total / count / math.log(2), rel_tol=1e-5)
    assert math.isclose(outcome.logs["perplexity"], math.exp(total / count), rel_tol=1e-4)


def test_starts_at_chance_and_learns_what_is_certain(modality, learner):
    views = views_of(modality, TEXTS)
    assert abs(learner(views).loss - math.log(modality.tokenizer.size)) < 0.1
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        outcome = learner(views)
        outcome.loss.backward()
        optimizer.step()
    assert outcome.loss < 0.05
    assert all(p.grad is not None for p in learner.parameters())


def test_texts_of_one_token_have_no_transition(modality, learner):
    outcome = learner(views_of(modality, ["a", "b"]))
    outcome.loss.backward()
    assert outcome.loss == 0


def test_an_encoder_that_looks_ahead_is_refused(modality):
    with pytest.raises(RecipeError, match="causal encoder, Transformer looks ahead"):
        NextToken().build(Encoders({"text": Transformer(modality, width=16, heads=2)}))


def test_patches_are_guessed_by_regression(modality, learner):
    """Tokens whose targets are numbers: the mean square over every transition, and no likelihood."""
    learner.encoders["text"].token_targets = lambda batch: nn.functional.one_hot(
        batch.ids, modality.tokenizer.size
    ).float()
    views = views_of(modality, TEXTS)
    outcome = learner(views)
    total, count = 0.0, 0
    for text in TEXTS:
        ids = modality.decode(text)
        for t in range(1, len(ids)):
            seen = modality.collate([ids[:t]])
            guess = learner.objective.head(learner.encoders["text"](seen).tokens[0, -1])
            wanted = nn.functional.one_hot(torch.as_tensor(int(ids[t])), modality.tokenizer.size)
            total += float((guess - wanted).square().mean().detach())
            count += 1
    assert math.isclose(outcome.loss.detach(), total / count, rel_tol=1e-5)
    assert outcome.logs == {}
    assert learner.score(views) is None
