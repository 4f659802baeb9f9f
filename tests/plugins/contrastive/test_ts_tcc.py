import pytest
import torch

from sensorium import View
from sensorium.errors import RecipeError
from sensorium.losses import future_info_nce, nt_xent
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.encoders.dilated import Dilated
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.views.augment import WeakStrong
from sensorium.models.learner import Learner
from sensorium.plugins.contrastive.ts_tcc import TSTCC
from sensorium.testing.synthetic import ToyBatch, ToyEncoder
from tests.plugins.toy_tokens import StepBatch, StepEncoder

SMALL = {"future_steps": 3, "width": 8, "depth": 1, "heads": 2}


def setting(lengths=(8, 5, 1, 2), t=8, **options):
    torch.manual_seed(0)
    learner = Learner({"toy": StepEncoder()}, TSTCC(**SMALL | options)).eval()
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(len(lengths), t, 4, generator=rng)
    batches = [StepBatch(x + 0.1 * i, torch.tensor(lengths)) for i in range(2)]
    return learner, {"toy": [View(batch, modality="toy") for batch in batches]}


def test_loss_is_made_of_its_parts():
    """Record by record: the context of tokens up to the present, the other view's tokens after it."""
    learner, views = setting()
    torch.manual_seed(3)
    outcome = learner(views)
    torch.manual_seed(3)
    draws, objective = torch.rand(4), learner.objective
    z = [learner.encoders["toy"](view.batch).tokens for view in views["toy"]]
    predictions, futures, contexts, there = [[], []], [[], []], [[], []], torch.zeros(4, 3, dtype=torch.bool)
    for i, length in enumerate([8, 5, 1, 2]):
        now = int(draws[i] * max(length - 3, 1))
        for v in range(2):
            past = z[v][i : i + 1, : now + 1]
            contexts[v].append(objective.context(past, torch.ones(1, now + 1, dtype=torch.bool))[0])
            predictions[v].append(objective.predict(contexts[v][-1]).view(3, -1))
            rows = torch.zeros(3, 12)
            for k in range(3):
                if now + 1 + k < length:
                    rows[k], there[i, k] = z[v][i, now + 1 + k], True
            futures[v].append(rows)
    c1, c2 = (torch.stack(c) for c in contexts)
    temporal = sum(future_info_nce(torch.stack(predictions[v]), torch.stack(futures[1 - v]), there) for v in range(2))
    wanted = temporal + 0.7 * nt_xent(objective.project(c1), objective.project(c2), 0.2)
    torch.testing.assert_close(outcome.loss, wanted)
    torch.testing.assert_close(outcome.logs["temporal"], temporal.detach())


def test_no_token_after_the_present_reaches_the_context():
    learner, _ = setting()
    z, past = torch.randn(2, 6, 12), torch.arange(6) <= torch.tensor([[2], [4]])
    seen = learner.objective.context(z, past)
    z[~past] += 100
    torch.testing.assert_close(learner.objective.context(z, past), seen)
    z[0, 1] += 1
    assert not torch.allclose(learner.objective.context(z, past)[0], seen[0])


def test_training_on_series_learns_to_guess():
    torch.manual_seed(0)
    modality = TimeSeriesModality(channels=1, scale="none")
    rows = [torch.sin(torch.arange(32) * (0.2 + 0.15 * i))[None].numpy() for i in range(8)]
    batch = SignalBatch.join(rows)
    learner = Learner({"series": Dilated(modality, dim=16, width=8, depth=3)}, TSTCC(**SMALL)).train()
    optimizer, maker, found = torch.optim.AdamW(learner.parameters(), lr=3e-3), WeakStrong(modality, 0.1, 0.1), []
    for step in range(40):
        views = maker(batch, torch.Generator().manual_seed(step % 4))
        for view in views:
            view.modality = "series"
        optimizer.zero_grad()
        loss = learner({"series": views}).loss
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert sum(found[-4:]) < 0.8 * sum(found[:4])
    assert all(p.grad is not None for p in learner.parameters())


def test_tokens_without_a_mask_are_all_real():
    torch.manual_seed(0)
    learner = Learner({"toy": ToyEncoder()}, TSTCC(**SMALL))
    views = [View(ToyBatch(torch.randn(4, 8, 4)), modality="toy") for _ in range(2)]
    outcome = learner({"toy": views})
    assert outcome.loss.isfinite()
    assert outcome.logs["temporal"] > 0


@pytest.mark.parametrize("lengths", [(1, 1, 1), (8,)])
def test_too_little_to_tell_apart_is_finite(lengths):
    learner, views = setting(lengths)
    outcome = learner(views)
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert outcome.logs["temporal"] == 0


def test_what_cannot_serve_it_is_told():
    learner, views = setting()
    short, _ = setting(t=6, lengths=(6, 5, 1, 2))[1]["toy"]
    with pytest.raises(RecipeError, match="weak-strong"):
        learner({"toy": [views["toy"][0], short]})
    learner.encoders["toy"].register_forward_hook(lambda *a: setattr(a[2], "tokens", None))
    with pytest.raises(RecipeError, match="none"):
        learner(views)
    for options in ({"future_steps": 0}, {"width": 9}):
        with pytest.raises(RecipeError, match="ts-tcc"):
            TSTCC(**options)
