"""Training on time series: arrays in memory, unreadable records, masked values."""

import numpy as np
import pytest
import torch

import sensorium
from sensorium.data.arrays import ArraysSource
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.timeseries.encoders.channel_transformer import ChannelTransformer
from sensorium.modalities.timeseries.encoders.patch_transformer import PatchTransformer
from sensorium.modalities.timeseries.views.masking import PatchMask
from sensorium.models.learner import Learner
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.simmim import SimMIM
from tests.modalities import pretrained_case
from tests.modalities.timeseries.series import any_channels, modality, raw_sets
from tests.plugins.toy_token_modality import losses_while_training

SMALL = ["train.steps=2", "data.workers=0", "evaluate.evaluators={}", "data.val=0", "data.test=0"]
TINY = "modalities.timeseries.encoder={name: dilated, dim: 8, width: 4, depth: 2}"


def test_an_array_is_trained_on_in_one_line(tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 3, 20))
    model = sensorium.fit("ts2vec", [*SMALL, TINY], source=ArraysSource({"timeseries": x}), run_dir=tmp_path / "run")
    assert model.embed(timeseries=x)["timeseries"].shape == (12, 8)


def test_unreadable_records_are_skipped_and_degenerate_ones_do_no_harm(tmp_path):
    rng = np.random.default_rng(0)
    good = [rng.normal(size=(1, n)) for n in (30, 17, 24, 9, 30, 12, 21, 16)]
    degenerate = [np.full((1, 20), 7.0), [[3.0]], [[np.nan, 1.0, np.nan]]]  # constant, one step, one value
    unreadable = [
        np.full((1, 9), np.nan),
        np.full((1, 9), np.inf),
        np.empty((1, 0)),
        "no series",
        rng.normal(size=(2, 9)),
    ]
    source = ArraysSource({"timeseries": [*good, *degenerate, *unreadable]})
    model = sensorium.fit(
        "ts2vec", [*SMALL, TINY, "data.batch=4", "data.max_bad=0.5"], source=source, run_dir=tmp_path / "run"
    )
    features = model.embed(timeseries=[*good, *degenerate])["timeseries"]
    assert features.isfinite().all()
    for raw in unreadable:
        with pytest.raises(sensorium.SensoriumError, match="Value 0 of timeseries"):
            model.embed(timeseries=[raw])


@pytest.mark.parametrize("objective", [SimMIM, lambda: MAE(width=16, depth=1, heads=2)])
def test_masked_spans_are_reconstructed(objective):
    steps = np.arange(64)
    rows = [np.sin(steps * f + p)[None].astype(np.float32) for f in (0.2, 0.3) for p in range(4)]
    batch = SignalBatch.join(rows)
    torch.manual_seed(0)
    (view,) = PatchMask(modality(1), patch=4, mask_ratio=0.4)(batch, torch.Generator().manual_seed(0))
    view.modality = "series"
    encoder = PatchTransformer(modality(1), patch=4, width=32, depth=2, heads=2)
    learner = Learner({"series": encoder}, objective())
    found = losses_while_training(learner, {"series": [view]}, steps=40)
    assert found[-1] < 0.7 * found[0]


@pytest.fixture(scope="module")
def mixed():
    """An encoder, and a batch of series of 2, 9 and 24 channels."""
    made = any_channels()
    torch.manual_seed(0)
    encoder = ChannelTransformer(made, patch=8, width=32, depth=2, heads=2)
    return encoder, made.collate([made.decode(raw) for raw in raw_sets((2, 9, 24))])


@pytest.mark.parametrize("name", ["mae", "simmim", "data2vec", "jepa", "ibot"])
def test_masked_objectives_take_a_step_on_a_mixture_of_channel_sets(mixed, name):
    pretrained_case.check_one_step(mixed[0], "timeseries", mixed[1], name)


@pytest.mark.parametrize("name", ["ts2vec", "ts-tcc"])
def test_objectives_of_time_steps_refuse_tokens_of_several_channels(mixed, name):
    with pytest.raises(RecipeError, match="several tokens of the encoder ChannelTransformer are of one time"):
        pretrained_case.step_learner(mixed[0], "timeseries", name)


def test_whole_channels_are_reconstructed_from_others():
    made = any_channels()
    steps = np.arange(48)
    raws = [
        {"values": np.stack([np.sin(steps * 0.2 + p + c) for c in range(count)]), "channels": list("abcdefghi"[:count])}
        for count in (2, 5)
        for p in range(3)
    ]
    batch = made.collate([made.decode(raw) for raw in raws])
    torch.manual_seed(0)
    (view,) = PatchMask(made, across="channels", mask_ratio=0.4)(batch, torch.Generator().manual_seed(0))
    view.modality = "series"
    learner = Learner({"series": ChannelTransformer(made, width=32, depth=2, heads=2)}, SimMIM())
    found = losses_while_training(learner, {"series": [view]}, steps=100)
    assert found[-1] < 0.7 * found[0]


def test_a_mixture_of_channel_sets_is_trained_measured_embedded_and_exported(tmp_path):
    raws, labels = raw_sets((2, 9, 24) * 8, steps=80), ["a", "b"] * 12
    splits = ["train"] * 16 + ["test"] * 8
    source = ArraysSource({"timeseries": raws}, {"class": labels}, splits=splits)
    small = {"name": "channel-transformer", "patch": 16, "width": 16, "depth": 1, "heads": 2}
    towers = {
        "timeseries": {
            "modality": {"name": "timeseries", "channels": "any"},
            "views": "channel-dropout",
            "encoder": small,
        }
    }
    recipe = {
        "name": "mixed",
        "data": {"batch": 8, "workers": 0, "val": 0.0},
        "modalities": towers,
        "objective": "simclr",
        "train": {"steps": 2},
        "evaluate": {"evaluators": {"knn": {"label": "class", "k": 1}}},
    }
    model = sensorium.fit(recipe, source=source, run_dir=tmp_path / "run")
    table = sensorium.evaluate([tmp_path / "run"], source=source)["knn"]
    assert [row.name for row in table.rows] == ["chance", "baseline", "untrained", "trained"]
    features = model.embed(timeseries=raws[:3])["timeseries"]
    sensorium.export(tmp_path / "run", tmp_path / "exported")
    made, encoder = sensorium.load_encoder(tmp_path / "exported")
    with torch.no_grad():
        again = encoder(made.collate([made.decode(raw) for raw in raws[:3]])).pooled
    torch.testing.assert_close(again, torch.as_tensor(features), rtol=1e-5, atol=1e-5)
    assert (tmp_path / "run" / "views.png").exists()
    checked = sensorium.check(recipe, source=source)
    assert "9 channels: x, y, z, electrode 0, ..." in str(checked)
