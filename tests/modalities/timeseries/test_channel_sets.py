"""The modality with `channels: any`."""

import io
import json

import numpy as np
import pytest
import torch

from sensorium import BadSample, View
from sensorium.errors import RecipeError
from sensorium.modalities.timeseries.channel_batch import ChannelSetBatch
from sensorium.modalities.timeseries.modality import TimeSeriesModality
from sensorium.modalities.timeseries.series import Axes, Series
from sensorium.modalities.timeseries.views.augment import Augment
from sensorium.modalities.timeseries.views.masking import PatchMask
from sensorium.testing.equality import same
from tests.modalities.timeseries.series import any_channels, modality, raw_sets, rng


def named(values, *channels):
    return {"values": np.asarray(values, float), "channels": list(channels)}


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_each_channel_is_scaled_within_its_series_and_its_level_is_kept():
    train = [named([[0.0, 2.0, 4.0]], "a"), named([[6.0, 8.0, 10.0], [1.0, 1.0, 4.0]], "a", "b")]
    made = any_channels(train)
    for raw in train:
        values = made.decode(raw).values_CT
        np.testing.assert_allclose(values.mean(1), 0, atol=1e-6)
        np.testing.assert_allclose(values.std(1), 1, rtol=1e-6)
    whole = np.array([0.0, 2, 4, 6, 8, 10])
    levels = made.decode(named([[100.0, 300.0]], "a")).levels_C2[0]
    np.testing.assert_allclose(levels[0], np.arcsinh((200 - whole.mean()) / whole.std()), rtol=1e-5)
    np.testing.assert_allclose(levels[1], np.log(100 / whole.std()), rtol=1e-5)
    assert (made.decode(named([[100.0, 300.0]], "new")).levels_C2 == 0).all()
    constant = made.decode(named([[5.0, 5.0, 5.0]], "a"))
    assert (constant.values_CT == 0).all()
    assert constant.levels_C2[0].tolist() == pytest.approx([0.0, -10.0])


@pytest.mark.parametrize("scale", ["robust", "none"])
def test_other_scales_are_of_the_series_itself_too(scale):
    raw = named([[0.0, 1.0, 2.0, 3.0, 1000.0]], "a")
    example = any_channels([raw], scale=scale).decode(raw)
    expected = raw["values"] if scale == "none" else (raw["values"] - 2) / (2 / 1.349)
    np.testing.assert_allclose(example.values_CT, expected, rtol=1e-4)
    shifted = any_channels([raw], scale=scale).decode(named(raw["values"] + 500, "a"))
    assert (shifted.levels_C2 == 0).all() == (scale == "none")


def test_steps_of_large_counters_are_kept():
    counter = {"values": np.array([[2**60 + 3 * i for i in range(9)]]), "channels": ["ticks"]}
    values = any_channels([counter]).decode(counter).values_CT[0]
    np.testing.assert_allclose(np.diff(values), np.diff(values)[0], rtol=1e-5)


def test_a_channel_without_a_value_is_none_of_the_series():
    raw = named([[1.0, 2.0], [np.nan, np.nan], [np.nan, 5.0]], "a", "b", "c")
    example = any_channels([raw]).decode(raw)
    assert example.channels == ("a", "c")
    assert example.values_CT.shape == (2, 2)
    short = any_channels([raw], length=1).decode(raw)
    assert short.channels == ("a",)


def test_names_come_from_sources_mappings_and_files_and_else_are_indices():
    values = np.arange(6.0).reshape(2, 3)
    made = any_channels()
    for raw in (
        named(values, "u", "v"),
        {"values": values.tolist(), "channels": np.array(["u", "v"])},
        npz(values=values, channels=["u", "v"]),
        Series.of(values, Axes(("u", "v"))),
    ):
        assert made.decode(raw).channels == ("u", "v")
    assert made.decode(values).channels == ("channel 0", "channel 1")
    turned = TimeSeriesModality(channels="any", layout="time-first")
    assert turned.decode({"values": values.T, "channels": ["u", "v"]}).channels == ("u", "v")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (named([[1.0, 2.0]], "a", "b"), "1 channels and 2 channel names"),
        (named([[1.0], [2.0]], "a", "a"), "two channels of the series are named 'a'"),
        ({"values": [[1.0]]}, "has 'values' and 'channels'"),
        ({"values": [[1.0]], "channels": 7}, "channel names are a list of names"),
    ],
)
def test_names_that_do_not_fit_are_unreadable(raw, reason):
    with pytest.raises(BadSample, match=reason):
        any_channels().decode(raw)


def test_series_of_another_sampling_period_are_unreadable():
    def at(period):
        return Series.of(np.arange(4.0)[None], Axes(("a",), period, "s"))

    made = any_channels([named([[1.0, 2.0]], "a"), at(0.005)])
    assert made.decode(at(0.005)).channels == ("a",)
    with pytest.raises(BadSample, match=r"0\.01 s apart, and those of the train part 0\.005 s: resample it"):
        made.decode(at(0.01))
    restored = TimeSeriesModality(channels="any")
    restored.load_state(json.loads(json.dumps(made.state())))
    with pytest.raises(BadSample, match="resample it"):
        restored.decode(at(0.01))


def test_names_work_for_one_number_of_channels_too():
    made = TimeSeriesModality()
    made.fit([named([[1.0, 2.0], [3.0, 5.0]], "a", "b")] * 2)
    assert made.axes.channels == ("a", "b")
    with pytest.raises(BadSample, match="the channels of the series are b, a, not a, b"):
        made.decode(named([[1.0, 2.0], [3.0, 5.0]], "b", "a"))


def test_the_state_restores_levels():
    made, raws = any_channels(), raw_sets()
    restored = TimeSeriesModality(channels="any")
    restored.load_state(json.loads(json.dumps(made.state())))
    assert restored.is_fitted
    assert same([restored.decode(raw) for raw in raws], [made.decode(raw) for raw in raws])


def test_check_counts_channel_sets_and_a_training_says_which_there_are():
    made, raws = any_channels(), raw_sets()
    facts = [made.describe(raw, made.decode(raw)) for raw in raws]
    assert [fact["channels"] for fact in facts] == [2, 9, 24]
    assert facts[0]["channel set"] == "2 channels: x, y"
    assert facts[1]["channel set"] == "9 channels: x, y, z, electrode 0, ..."
    (note,) = made.notes(raws)
    assert note.startswith("24 channel names in 3 channel sets: 2 channels: x, y (1 series); ")
    unnamed = any_channels([raw["values"] for raw in raws])
    assert "series of 2, 9 and 24 channels have no channel names" in unnamed.notes([])[1]


def test_content_is_by_name_in_any_order():
    made, raw = any_channels(), raw_sets((9,))[0]
    turned = {"values": raw["values"][::-1], "channels": raw["channels"][::-1]}
    one, other = (made.content(each, made.decode(each)) for each in (raw, turned))
    assert list(one) == list(other)
    assert same(one, other)


@pytest.mark.parametrize("baseline", ["series", "values"])
def test_baseline_features_have_one_width_and_no_order_of_channels(baseline):
    made = any_channels(baseline=baseline)
    raws = raw_sets((9, 2, 24))
    turned = [{"values": raw["values"][::-1], "channels": raw["channels"][::-1]} for raw in raws]
    one, other, alone = (
        made.baseline_features(made.collate([made.decode(raw) for raw in some])) for some in (raws, turned, raws[1:2])
    )
    assert one.dtype == np.float32
    assert one.shape[0] == 3
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone[0], one[1], rtol=1e-4, atol=1e-5)
    assert made.baseline_description.endswith("pooled over channels")


def test_previews_have_the_names_of_the_train_part_and_masks_by_channel():
    made, raws = any_channels(), raw_sets()
    batch = made.collate([made.decode(raw) for raw in raws])
    assert [example.channels for example in made.examples(batch)] == [tuple(raw["channels"]) for raw in raws]
    other = made.collate([made.decode(named([[1.0, 2.0]], "unseen"))])
    assert made.examples(other)[0].channels == ("channel 0",)
    (view,) = PatchMask(made, across="channels")(batch, rng())
    images = made.preview_views(batch, [view])[0]
    plain = made.preview_views(batch, [View(batch)])[0]
    assert all(image.size == (256, 256) for image in images)
    assert all(image.tobytes() != other.tobytes() for image, other in zip(images, plain, strict=True))


def test_a_tensor_is_a_batch_of_indexed_channels():
    batch = any_channels().batch_of(torch.randn(2, 3, 8))
    assert isinstance(batch, ChannelSetBatch)
    assert batch.channel_mask.all()


def test_mixup_is_refused():
    with pytest.raises(RecipeError, match="set mixup to 0"):
        Augment(any_channels(), mixup=0.5)
    with pytest.raises(RecipeError, match="set the modality's channels to any, or across to time"):
        PatchMask(modality(3), across="channels")
