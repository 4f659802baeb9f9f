import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from sensorium import Encoders, TrainingSize, losses
from sensorium.errors import RecipeError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality
from sensorium.models.learner import Learner
from sensorium.plugins.predictive.embeddings import one_token_of_each
from sensorium.plugins.predictive.next_embedding import NextEmbedding
from sensorium.training.collapse_alarm import measure
from sensorium.types import Outcome, View
from tests.core.losses.references import cosine
from tests.core.losses.test_sigreg import reference as sigreg_reference
from tests.golden.pairs import built
from tests.plugins.toy_token_modality import losses_while_training

TEXTS = ["abcdefghijkl", "bcaefd", "cab", "a", "fedcbafedcba", "lkj", "ijklabc", "hgfe"]


@pytest.fixture
def modality():
    made = TextModality("characters", length=16)
    made.fit(TEXTS)
    return made


def is_gin(encoder):
    return type(encoder).__name__ == "GIN"


def learner_of(modality, **options):
    torch.manual_seed(0)
    encoder = Transformer(modality, width=32, depth=2, heads=2, causal=True, pool="end")
    return Learner({"text": encoder}, NextEmbedding(**{"width": 16, "dim": 4, "directions": 8} | options))


def views_of(modality, texts):
    return [View(modality.collate([modality.decode(text) for text in texts]), modality="text")]


def of_each_text(modality, encoder):
    """Outputs (T, D) and embeddings (T, D), these by id and without positions, of each text alone."""
    for text in TEXTS:
        ids = modality.decode(text)
        yield encoder(modality.collate([ids])).tokens[0], encoder.embed.weight[torch.as_tensor(ids)]


def test_is_the_papers_of_each_text_alone(modality):
    learner = learner_of(modality)
    pairs = [(h[t], e[t + 1]) for h, e in of_each_text(modality, learner.encoders["text"]) for t in range(len(h) - 1)]
    assert len(pairs) == sum(map(len, TEXTS)) - len(TEXTS)
    expected = -sum(cosine(h, e.detach()) for h, e in pairs) / len(pairs)
    outcome = learner(views_of(modality, TEXTS))
    torch.testing.assert_close(outcome.loss, expected, rtol=1e-5, atol=1e-6)
    # The gradient too: that of a target alone, not of the same embedding as an input, is stopped.
    outcome.loss.backward()
    (wanted,) = torch.autograd.grad(expected, [learner.encoders["text"].embed.weight])
    torch.testing.assert_close(learner.encoders["text"].embed.weight.grad, wanted, rtol=1e-4, atol=1e-6)
    (flowing,) = torch.autograd.grad(
        -sum(
            cosine(h[t], e[t + 1])
            for h, e in of_each_text(modality, learner.encoders["text"])
            for t in range(len(h) - 1)
        )
        / len(pairs),
        [learner.encoders["text"].embed.weight],
    )
    assert not torch.allclose(flowing, wanted, rtol=1e-2)


@pytest.mark.parametrize("fault", ["positions in the target", "outputs as targets", "no shift", "padding"])
def test_mutants_of_the_forward_pass_are_caught(modality, fault):
    learner = learner_of(modality)
    view = views_of(modality, TEXTS)[0]
    with torch.no_grad():
        right = learner([view]).loss
        encoder = learner.encoders["text"]
        tokens = encoder.tokenize(view.batch)
        h, e, mask = encoder.encode_tokens(tokens).tokens, tokens.x, tokens.valid()
        wrong = {
            "positions in the target": lambda: losses.next_embedding(h, e + tokens.positions, mask),
            "outputs as targets": lambda: losses.next_embedding(h, h, mask),
            "no shift": lambda: -F.cosine_similarity(h, e, dim=-1)[mask].mean(),
            "padding": lambda: losses.next_embedding(h, e, torch.ones_like(mask)),
        }[fault]()
    assert math.isclose(losses.next_embedding(h, e, mask), right, rel_tol=1e-6)
    assert not math.isclose(wrong, right, rel_tol=1e-2)


def test_at_the_start_and_for_an_encoder_without_layers_the_loss_is_at_chance():
    """Patches of noise: nothing about the next one is known, to the identity neither."""
    torch.manual_seed(0)
    pixels = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8)
    for depth in (2, 0):
        encoder = ViT(ImageModality(size=32), patch=8, width=96, depth=depth or 1, heads=3, causal=True)
        encoder.blocks = encoder.blocks[:depth]
        loss = Learner({"image": encoder}, NextEmbedding())([View(ImageBatch(pixels))]).loss
        assert abs(loss) < 0.05, depth


@pytest.mark.parametrize("with_positions", [False, True])
def test_where_tokens_stand_tells_nothing_of_noise(with_positions, monkeypatch):
    """A target with positions could be predicted from the position alone; without, noise stays at chance."""
    torch.manual_seed(0)
    encoder = ViT(ImageModality(size=32), patch=8, width=32, depth=1, heads=2, causal=True)
    encoder.embed.requires_grad_(False)
    learner, loss_of = Learner({"image": encoder}, NextEmbedding()), losses.next_embedding
    if with_positions:
        monkeypatch.setattr(losses, "next_embedding", lambda h, e, mask: loss_of(h, e + encoder.positions, mask))
    optimizer = torch.optim.AdamW(encoder.blocks.parameters(), lr=3e-3)
    for _ in range(30):
        loss = learner([View(ImageBatch(torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8)))]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (loss < -0.25) == with_positions, loss


@pytest.mark.parametrize("anchor", ["stop-gradient", "sigreg"])
def test_a_few_steps_lower_the_loss_and_gradients_reach_everything(modality, anchor):
    found = losses_while_training(learner_of(modality, anchor=anchor), {"text": views_of(modality, TEXTS)}, 30, 3e-3)
    assert found[-1] < found[0] - 0.2, found


@pytest.mark.parametrize("anchor", ["stop-gradient", "sigreg"])
def test_texts_of_one_token_and_no_texts_have_no_next_one(modality, anchor):
    learner = learner_of(modality, anchor=anchor)
    for texts in (["a", "b"], ["a"]):
        outcome = learner(views_of(modality, texts))
        outcome.loss.backward()
        assert outcome.loss.isfinite()
        assert anchor == "sigreg" or outcome.loss == 0
    (view,) = views_of(modality, TEXTS)
    nothing = View(view.batch.select(torch.zeros(0, dtype=torch.int64)), modality="text")
    outcome = learner([nothing])
    outcome.loss.backward()
    assert outcome.loss == 0
    assert {len(rows) for rows in outcome.features.values()} == {0}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learner.parameters())


@pytest.mark.parametrize("name", ["Transformer", "GIN"])
def test_encoders_that_look_ahead_are_refused(modality, name):
    encoder = Transformer(modality, width=16, heads=2) if name == "Transformer" else built("encoders", "graph", is_gin)
    with pytest.raises(RecipeError, match=f"needs a causal encoder, {name} looks ahead") as error:
        NextEmbedding().build(Encoders({"any": encoder}))
    assert "tokens without an order" in str(error.value)


def test_with_sigreg_it_is_prediction_and_the_statistic_at_each_position(modality):
    learner = learner_of(modality, anchor="sigreg", sigreg_weight=0.3).double().eval()
    torch.manual_seed(1)
    outcome = learner(views_of(modality, TEXTS))
    torch.manual_seed(1)
    directions = losses.random_directions(4, 8, torch.device("cpu")).double()
    projector, z, squares = learner.objective.project, [], []
    for h, e in of_each_text(modality, learner.encoders["text"]):
        z.append(projector(e[None], torch.ones(1, len(e), dtype=torch.bool))[0])
        squares += [(learner.objective.predict(h[t]) - z[-1][t + 1]).square().mean() for t in range(len(h) - 1)]
    steps = [torch.stack([row[t] for row in z if len(row) > t]) for t in range(max(map(len, z)))]
    prediction = sum(squares) / len(squares)
    sigreg = sum(sigreg_reference(rows.detach(), directions) for rows in steps) / len(steps)
    assert math.isclose(outcome.logs["prediction"], prediction.detach(), rel_tol=1e-9)
    assert math.isclose(outcome.logs["sigreg"], sigreg, rel_tol=1e-9)
    assert math.isclose(outcome.loss.detach(), prediction.detach() + 0.3 * sigreg, rel_tol=1e-9)
    # Both sides of the prediction are trained: no stop-gradient.
    prediction.backward()
    assert projector.mlp[1].weight.grad.abs().sum() > 0


def test_projections_cannot_shrink_where_nothing_can_be_predicted():
    """Patches of noise: the squared error stays the variance, 1. Small projections drown in batch norm's epsilon."""
    torch.manual_seed(0)
    encoder = ViT(ImageModality(size=32), patch=8, width=32, depth=1, heads=2, causal=True)
    learner = Learner({"image": encoder}, NextEmbedding("sigreg", 0.8, directions=16, width=32, dim=8))
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    for _ in range(40):
        outcome = learner([View(ImageBatch(torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8)))])
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
    assert 0.95 < outcome.logs["prediction"] < 1.2


def test_padding_does_not_reach_the_statistics_of_the_projector(modality):
    """Batch norm in training mode: a long text beside the others changes none of their statistics by its padding."""
    learner = learner_of(modality, anchor="sigreg")
    (view,) = views_of(modality, TEXTS[1:4])
    padded = replace(view.batch, ids=F.pad(view.batch.ids, (0, 5)), mask=F.pad(view.batch.mask, (0, 5)))
    rows = View(padded, modality="text")
    torch.manual_seed(0)
    one = learner([view])
    torch.manual_seed(0)
    other = learner([rows])
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-5, atol=1e-6)


def test_the_weight_of_sigreg_follows_the_batch():
    weight = NextEmbedding.auto["sigreg_weight"]
    assert math.isclose(weight(TrainingSize(1000, 128, 10)), 0.1)
    assert math.isclose(weight(TrainingSize(1000, 16, 10)), 0.8)
    with pytest.raises(RecipeError, match="sigreg_weight"):
        NextEmbedding("sigreg", sigreg_weight=0.0)


def test_the_alarm_watches_embeddings_not_outputs(modality):
    learner = learner_of(modality)
    healthy = learner(views_of(modality, TEXTS)).features
    assert set(healthy) == {"embeddings"}
    assert measure(Outcome(torch.zeros(()), features=healthy))["health/embeddings/std"] > 0.5
    with torch.no_grad():  # embeddings on a line; positions still make outputs differ
        learner.encoders["text"].embed.weight[:] = torch.randn(32)
    collapsed = measure(learner(views_of(modality, TEXTS)))
    assert collapsed["health/embeddings/std"] < 1e-3
    assert collapsed["health/embeddings/rank"] < 1.01


def test_watched_tokens_are_valid_and_of_all_positions():
    x = torch.arange(24.0).view(6, 4, 1).requires_grad_()
    valid = torch.tensor([[1, 1, 1, 1]] * 3 + [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)
    found = one_token_of_each(x, valid)
    assert not found.requires_grad
    assert found.flatten().tolist() == [
        0,
        5,
        10,
        13,
        17,
        20,
    ]  # the last two: 4 % 2, and a row without
    assert one_token_of_each(x[:0], valid[:0]).shape == (0, 1)


@pytest.mark.parametrize("anchor", ["stop-gradient", "sigreg"])
def test_bfloat16_and_state(modality, anchor):
    learner, views = learner_of(modality, anchor=anchor).train(), views_of(modality, TEXTS)
    learner(views)
    learner.eval()
    other = learner_of(modality, anchor=anchor).eval()
    other.load_state_dict(learner.state_dict())
    found = []
    for model, enabled in ((learner, False), (other, False), (other, True)):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found.append(model(views).loss)
    assert torch.equal(found[0], found[1])
    assert found[2].dtype == torch.float32
    assert torch.allclose(found[1], found[2], rtol=0.05, atol=0.01)
