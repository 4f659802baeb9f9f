import copy
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.views import Permutation, Plain
from sensorium.modalities.timeseries.views.augment import Augment, WeakStrong
from sensorium.modalities.timeseries.views.crops import OverlappingCrops
from sensorium.modalities.timeseries.views.masking import PatchMask
from sensorium.modalities.timeseries.views.spectra import Spectra
from sensorium.testing.equality import same
from tests.modalities.timeseries.series import batch_of, check_batch, modality, rng

EVERY_AUGMENTATION = {"segments": 5, "frequency_mask": 0.3, "channel_dropout": 0.3, "mask_ratio": 0.2, "mixup": 0.3}
GENERATORS = [
    (Plain, {}, 1),
    (Augment, {}, 2),
    (Augment, {"views": 3, **EVERY_AUGMENTATION}, 3),
    (Augment, {"mask_ratio": 0.5, "span": 1.0, "window_slice": 1.0, "time_warp": 0.0}, 2),
    (WeakStrong, {}, 2),
    (OverlappingCrops, {}, 2),
    (OverlappingCrops, {"min_overlap": 8}, 2),
    (Permutation, {}, 1),
    (Spectra, {}, 2),
    (PatchMask, {}, 1),
    (PatchMask, {"patch": 3, "span": 1.0, "mask_ratio": 0.9}, 1),
]


@pytest.mark.parametrize(("cls", "options", "count"), GENERATORS)
@settings(max_examples=8, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    channels=st.sampled_from([1, 2, 64]),
    missing=st.sampled_from([0.0, 0.5, 0.95]),
    seed=st.integers(0, 999),
)
def test_views_are_valid_deterministic_and_leave_their_input(cls, options, count, lengths, channels, missing, seed):
    batch = batch_of(lengths, channels, missing, seed)
    kept = copy.deepcopy(batch)
    generator = cls(modality(channels), **options)
    views = generator(batch, rng(seed))
    assert same(batch, kept)
    assert len(views) == generator.views == count
    assert same(views, generator(batch, rng(seed)))
    for view in views:
        check_batch(view.batch)
        assert len(view) == len(batch)
        assert view.batch.values.shape[1] == channels
        assert (view.batch.lengths <= batch.lengths).all()
        assert (view.target is not None) == (generator.target is not None)


@pytest.mark.parametrize(("cls", "options"), [(Augment, EVERY_AUGMENTATION), (WeakStrong, {}), (OverlappingCrops, {})])
def test_rows_and_views_are_drawn_independently(cls, options):
    one = batch_of([30])
    batch = SignalBatch.cat([one, one])
    first, second = cls(modality(), **options)(batch, rng(2))
    assert not torch.equal(first.batch.values[0], first.batch.values[1]) or cls is OverlappingCrops
    assert not same(first.batch, second.batch)


def test_all_strengths_off_is_the_identity():
    off = {"window_slice": 1.0, "time_warp": 0.0, "magnitude_warp": 0.0, "scaling": 0.0, "jitter": 0.0}
    batch = batch_of([20, 9], missing=0.2)
    assert all(same(view.batch, batch) for view in Augment(modality(), **off)(batch, rng()))


def test_weak_keeps_order_and_strong_keeps_scale():
    batch = batch_of([400])
    weak, strong = WeakStrong(modality(), scaling=0.1, jitter=0.0)(batch, rng())
    ratio = weak.batch.values / batch.values
    assert abs(ratio.median() - 2) < 0.05
    assert not torch.equal(strong.batch.values, batch.values)
    torch.testing.assert_close(strong.batch.values.sort(2).values, batch.values.sort(2).values)


@pytest.mark.parametrize("segments", [2, 3, 4, 5])
def test_the_target_is_the_permutation(segments):
    length = 4 * segments + 1
    steps = np.arange(length, dtype=np.float32)
    batch = SignalBatch.join([np.stack([steps, steps + 1000])] * 300)
    generator = Permutation(modality(2), segments)
    (view,) = generator(batch, rng())
    orders = list(permutations(range(segments)))
    assert generator.classes == len(orders)
    assert len(view.target.unique()) == len(orders) or segments == 5
    pieces = [steps[steps * segments // length == piece] for piece in range(segments)]
    for values, target in zip(view.batch.values.numpy(), view.target.tolist(), strict=True):
        wanted = np.concatenate([pieces[piece] for piece in orders[target]])
        np.testing.assert_array_equal(values, [wanted, wanted + 1000])


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    ratio=st.floats(0.01, 0.99),
    span=st.floats(1, 9),
    seed=st.integers(0, 99),
)
def test_some_patches_are_masked_and_some_visible(lengths, ratio, span, seed):
    batch = batch_of(lengths)
    (view,) = PatchMask(modality(), 4, ratio, span)(batch, rng(seed))
    mask, valid = view.info["masked"], batch.valid[:, ::4]
    assert mask.shape == valid.shape
    steps = torch.arange(batch.values.shape[2])
    assert torch.equal(view.info["masked steps"], mask[:, steps // 4])
    assert not (mask & ~valid).any()
    several = valid.sum(1) > 1
    assert torch.equal(mask.any(1), several)
    assert torch.equal((valid & ~mask).any(1), torch.ones(len(lengths), dtype=torch.bool))


def test_masked_patches_come_in_spans_of_their_ratio():
    (view,) = PatchMask(modality(), 1, 0.4, 5.0)(batch_of([1000] * 20), rng())
    mask = view.info["masked"].int()
    assert abs(mask.float().mean() - 0.4) < 0.03
    starts = (mask.diff(dim=1) == 1).sum()
    assert abs(mask.sum() / starts - 5) < 0.5


def channel_0_everywhere(batch):
    """A faulty permutation: all channels get the values of the first one."""
    return batch.with_values(batch.values[:, :1].expand_as(batch.values).clone())


def nothing_masked(view):
    """A faulty mask: nothing is masked, so a masked objective has no target."""
    return torch.zeros_like(view.info["masked"])


def test_faulty_generators_are_detected():
    batch = batch_of([24] * 3)
    (view,) = Permutation(modality())(batch, rng())
    ordered = batch.values.sort(2).values
    torch.testing.assert_close(view.batch.values.sort(2).values, ordered)
    assert not torch.allclose(channel_0_everywhere(view.batch).values.sort(2).values, ordered)
    (view,) = PatchMask(modality(), 4)(batch, rng())
    assert view.info["masked"].any(1).all()
    assert not nothing_masked(view).any(1).all()


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (Augment, {"window_slice": 1.5}),
        (Augment, {"jitter": -0.1}),
        (Augment, {"mask_ratio": 1.0}),
        (Augment, {"knots": 1}),
        (Augment, {"views": 0}),
        (WeakStrong, {"segments": 0}),
        (OverlappingCrops, {"min_overlap": 0}),
        (Permutation, {"segments": 6}),
        (PatchMask, {"mask_ratio": 0.0}),
        (PatchMask, {"patch": 0}),
    ],
)
def test_options_out_of_range_are_refused(cls, options):
    with pytest.raises(RecipeError, match=f"'{next(iter(options))}'"):
        cls(modality(), **options)
