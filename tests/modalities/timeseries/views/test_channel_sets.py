"""Views of series whose channels differ from record to record."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.modalities.signal.views import Permutation, Plain
from sensorium.modalities.timeseries.channel_batch import ChannelSetBatch
from sensorium.modalities.timeseries.encoders.channel_transformer import ChannelTransformer
from sensorium.modalities.timeseries.views.augment import Augment, WeakStrong
from sensorium.modalities.timeseries.views.crops import OverlappingCrops
from sensorium.modalities.timeseries.views.masking import ChannelDropout, PatchMask
from sensorium.modalities.timeseries.views.spectra import Spectra
from tests.modalities.timeseries.series import any_channels, batch_of, check_batch, modality, raw_sets, rng

MODALITY = any_channels()
EVERY = {"segments": 5, "frequency_mask": 0.3, "channel_dropout": 0.3, "mask_ratio": 0.2}
GENERATORS = [
    (Plain, {}),
    (Augment, EVERY),
    (WeakStrong, {}),
    (OverlappingCrops, {}),
    (Permutation, {}),
    (Spectra, {}),
    (PatchMask, {"patch": 4}),
    (ChannelDropout, {}),
]


def batch(counts, steps=30, seed=0) -> ChannelSetBatch:
    return MODALITY.collate([MODALITY.decode(raw) for raw in raw_sets(counts, steps=steps, seed=seed)])


@pytest.mark.parametrize(("cls", "options"), GENERATORS, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=5, deadline=None)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_padded_channels_stay_padding_and_what_is_known_of_channels_stays(cls, options, counts, seed):
    of = batch(counts, seed=seed)
    for view in cls(MODALITY, **options)(of, rng(seed)):
        made = view.batch
        check_batch(made)
        assert isinstance(made, ChannelSetBatch)
        assert not made.observed[~made.channel_mask].any()
        assert not (made.channel_mask & ~of.channel_mask).any()
        assert made.channel_mask.any(1).all()
        assert torch.equal(made.channel_ids, of.channel_ids)
        assert torch.equal(made.levels, of.levels)
        assert made.host_channels.tolist() == counts


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(1, 20), min_size=1, max_size=4), p=st.floats(0, 1), seed=st.integers(0, 99))
def test_channel_dropout_keeps_a_channel(counts, p, seed):
    for of in (batch(counts, seed=seed), batch_of([9, 20], channels=5, missing=0.3, seed=seed)):
        for view in ChannelDropout(MODALITY, p=p)(of, rng(seed)):
            assert view.batch.observed.flatten(1).any(1).all()
            stays_BC = view.batch.observed.any(2)
            assert torch.equal(view.batch.observed, of.observed & stays_BC[..., None])  # whole channels
    assert torch.equal(ChannelDropout(MODALITY, p=0.0)(of, rng())[0].batch.observed, of.observed)


def test_channels_are_dropped_with_their_probability_others_in_each_view():
    of = batch([8] * 300, steps=8 + 900)
    one, other = (view.batch.channel_mask for view in ChannelDropout(MODALITY, p=0.25)(of, rng()))
    assert abs(one.float().mean() - 0.75) < 0.03
    assert not torch.equal(one, other)


@pytest.mark.parametrize("across", ["time", "channels", "none"])
@settings(max_examples=10, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    ratio=st.floats(0.05, 0.95),
    seed=st.integers(0, 99),
)
def test_masks_are_of_the_encoders_tokens_some_masked_and_some_visible(across, counts, ratio, seed):
    of = batch(counts, steps=40, seed=seed)
    (view,) = PatchMask(MODALITY, patch=6, mask_ratio=ratio, across=across)(of, rng(seed))
    encoder = ChannelTransformer(MODALITY, patch=6, width=8, depth=1, heads=2)
    tokens, masked_BT = encoder.tokenize(of), view.info["masked"]
    assert masked_BT.shape == tokens.mask.shape
    assert not (masked_BT & ~tokens.mask).any()
    two_B = tokens.mask.sum(1) > 1
    assert masked_BT.any(1)[two_B].all()
    assert (tokens.mask & ~masked_BT).any(1).all()
    steps = view.info["masked steps"]
    assert steps.shape == of.values.shape
    for row, (channel, masked, valid) in enumerate(zip(tokens.channel, masked_BT, tokens.mask, strict=True)):
        of_channel = [masked[valid & (channel == c)] for c in range(counts[row])]
        assert sum(int(steps[row, c, ::6].sum()) for c in range(counts[row])) == int(masked.sum())
        if across == "time":
            assert all(torch.equal(one, of_channel[0]) for one in of_channel)
        if across == "channels" and counts[row] > 1:
            assert all(one.all() or not one.any() for one in of_channel)


def test_the_ratio_of_channels_is_masked():
    of = batch([20] * 8, steps=40)
    (view,) = PatchMask(MODALITY, mask_ratio=0.3, across="channels")(of, rng())
    assert (view.info["masked steps"].any(2).sum(1) == 6).all()


def test_a_fixed_number_of_channels_loses_values():
    of = batch_of([12, 12], channels=6)
    view = ChannelDropout(modality(6), views=1, p=1.0)(of, rng())[0]
    assert (view.batch.observed.any(2).sum(1) == 1).all()
    assert view.batch.values.shape == of.values.shape
