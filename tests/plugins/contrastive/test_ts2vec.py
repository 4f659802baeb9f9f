import math

import pytest
import torch

from sensorium import View
from sensorium.errors import RecipeError
from sensorium.losses import hierarchical_contrastive
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.encoders.dilated import Dilated
from sensorium.modalities.timeseries.encoders.patch_transformer import PatchTransformer
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.views.crops import OverlappingCrops
from sensorium.models.learner import Learner
from sensorium.plugins.contrastive.ts2vec import TS2Vec
from sensorium.testing.emulation import emulate_steps, table
from sensorium.testing.synthetic import ToyBatch, ToyEncoder
from sensorium.types import RecordBatch


def series(lengths, seed=0):
    """Sines of a frequency of their own."""
    rng = torch.Generator().manual_seed(seed)
    rows = []
    for i, length in enumerate(lengths):
        phase = 6 * torch.rand(1, generator=rng)
        rows.append(torch.sin(torch.arange(length) * (0.2 + 0.1 * i) + phase)[None].numpy())
    return SignalBatch.join(rows)


def modality():
    return TimeSeriesModality(channels=1, scale="none")


def setting(lengths=(24, 24, 24, 24), **options):
    torch.manual_seed(0)
    learner = Learner({"series": Dilated(modality(), dim=8, width=8, depth=3, **options)}, TS2Vec())
    return learner, views_of(series(lengths))


def views_of(batch, seed=3):
    views = OverlappingCrops(modality())(batch, torch.Generator().manual_seed(seed))
    for view in views:
        view.modality = "series"
    return {"series": views}


@pytest.mark.parametrize("lengths", [(24, 24, 24), (24, 7, 1)])
def test_loss_is_the_contrast_of_what_overlaps(lengths):
    learner, views = setting(lengths, mask_ratio=0.0, dropout=0.0)
    first, second = views["series"]
    with torch.no_grad():
        z1, z2 = (learner.encoders["series"](view.batch).tokens for view in (first, second))
        shared = (first.info["aligned"] >= 0).sum(1)
        one = torch.zeros(len(lengths), int(shared.max()), 8)
        other = one.clone()
        for row, count in enumerate(shared.tolist()):  # the end of the first, the start of the second
            end = int(first.batch.lengths[row])
            one[row, :count], other[row, :count] = z1[row, end - count : end], z2[row, :count]
        wanted = hierarchical_contrastive(one, other, torch.arange(one.shape[1]) < shared[:, None])
        torch.testing.assert_close(learner(views).loss, wanted)


def test_training_tells_series_and_moments_apart():
    learner, _ = setting(mask_ratio=0.1)
    learner.train()
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    batch, found = series((24, 24, 24, 24)), []
    for step in range(60):
        optimizer.zero_grad()
        loss = learner(views_of(batch, step % 6)).loss
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    assert sum(found[-6:]) < 0.85 * sum(found[:6])
    assert all(p.grad is not None for p in learner.parameters())


def test_views_without_alignment_are_taken_token_by_token():
    torch.manual_seed(0)
    learner = Learner({"toy": ToyEncoder()}, TS2Vec(alpha=0.3))
    x = torch.randn(4, 8, 4)
    views = [View(ToyBatch(x), modality="toy"), View(ToyBatch(x + 0.1), modality="toy")]
    z1, z2 = (learner.encoders["toy"](view.batch).tokens for view in views)
    torch.testing.assert_close(learner({"toy": views}).loss, hierarchical_contrastive(z1, z2, alpha=0.3))


def test_what_cannot_serve_it_is_told():
    learner = Learner({"series": PatchTransformer(modality(), patch=4, width=16, depth=1)}, TS2Vec())
    with pytest.raises(RecipeError, match="a token for each step"):
        learner(views_of(series((24, 24))))
    learner, views = setting()
    for view in views["series"]:
        view.info = {}
    with pytest.raises(RecipeError, match="overlapping-crops"):
        learner(views)
    learner.encoders["series"].register_forward_hook(lambda *a: setattr(a[2], "tokens", None))
    with pytest.raises(RecipeError, match="none"):
        learner(views)
    with pytest.raises(RecipeError, match="alpha"):
        TS2Vec(alpha=1.5)


def test_overlapping_crops_make_the_host_wait_in_the_first_step_alone():
    made = modality()
    objective = TS2Vec()
    learner = Learner({"timeseries": Dilated(made, dim=8, width=4, depth=2)}, objective, views=2)
    records = [RecordBatch(["a", "b"], {"timeseries": series([40, 31])}, {"timeseries": None}) for _ in range(2)]
    found = emulate_steps(learner, {"timeseries": OverlappingCrops(made)}, records)
    assert all(map(math.isfinite, found.losses))
    assert [len(waits) for waits in found.synchronizations] == [3, 1], table(found.synchronizations[1])
