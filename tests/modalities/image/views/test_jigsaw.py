"""Shuffled tiles: which view shows what, what the target says, and what no longer gives the order away."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import SensoriumError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views import jigsaw
from sensorium.modalities.image.views.jigsaw import Jigsaw, permutation_set


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def whole(tiles=3, side=30, **options):
    """A generator that neither crops nor flips nor takes color out."""
    return Jigsaw(ImageModality(size=side), tiles, scale=(1.0, 1.0), flip=0.0, gray=0.0, **options)


def images(n=5, side=30, seed=0):
    return ImageBatch(torch.rand(n, 3, side, side, generator=rng(seed)))


def cells(x_BCHW, tiles, side):
    """Cut pictures into their cells: (B, N, C, side, side)."""
    x = x_BCHW[:, :, : tiles * side, : tiles * side].unfold(2, side, side).unfold(3, side, side)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def shown(views):
    """The tiles in the order of the views: (B, N, C, h, w)."""
    return torch.stack([view.batch.pixels for view in views], 1)


@pytest.mark.parametrize(("tiles", "count"), [(2, 24), (3, 100)])
def test_permutations_are_different_and_far_from_each_other(tiles, count):
    orders = permutation_set(tiles, count)
    assert orders.shape == (count, tiles**2)
    assert torch.equal(orders.sort(1).values, torch.arange(tiles**2).expand(count, -1))
    distance = (orders[:, None] != orders[None]).sum(-1) + 99 * torch.eye(count, dtype=torch.long)
    assert distance.min() >= (2 if tiles == 2 else 6)
    random = torch.stack([torch.randperm(tiles**2, generator=rng(i)) for i in range(count)])
    between = (random[:, None] != random[None]).sum(-1) + 99 * torch.eye(count, dtype=torch.long)
    assert tiles == 2 or between.min() < 6  # the negative control: chance alone does not keep them so far apart
    assert torch.equal(permutation_set.__wrapped__(tiles, count), orders)


def test_fewer_permutations_are_the_first_of_more():
    assert torch.equal(permutation_set(3, 5), permutation_set(3, 100)[:5])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), tiles=st.sampled_from([2, 3]))
def test_without_a_gap_every_view_is_the_tile_that_the_target_names(seed, tiles):
    side, batch = 30 // tiles, images(seed=seed)
    generator = whole(tiles, permutations=20, gap=0.0, even=False)
    views = generator(batch, rng(seed))
    assert len(views) == generator.views == tiles**2
    before, after = cells(batch.pixels, tiles, side), shown(views)
    assert all(torch.equal(view.target, views[0].target) for view in views)
    for b, target in enumerate(views[0].target.tolist()):
        order = permutation_set(tiles, 20)[target]
        for place, tile in enumerate(order.tolist()):
            assert torch.allclose(after[b, place], before[b, tile], atol=1e-5)
            if tile != place:  # the mutant: views that leave the tiles where they were
                assert not torch.allclose(after[b, place], before[b, place], atol=1e-2)


def test_the_order_says_which_tile_a_view_shows_and_not_where_a_tile_goes():
    cyclic = next(i for i, p in enumerate(permutation_set(3, 100)) if not torch.equal(p, p.argsort()))
    order = permutation_set(3, 100)[cyclic]
    batch = images(400)
    views = whole(permutations=100, gap=0.0, even=False)(batch, rng())
    row = (views[0].target == cyclic).nonzero()[0, 0]
    before, after = cells(batch.pixels, 3, 10)[row], shown(views)[row]
    right = [torch.allclose(after[i], before[j], atol=1e-5) for i, j in enumerate(order.tolist())]
    inverse = [torch.allclose(after[i], before[j], atol=1e-5) for i, j in enumerate(order.argsort().tolist())]
    assert all(right)
    assert not all(inverse)


def test_tiles_are_cut_at_random_places_of_their_cells():
    generator = whole(permutations=2, gap=0.4)
    assert (generator.tile, generator.cell) == ((6, 6), (10, 10))
    places = generator.places([torch.randint(5, (64, 9), generator=rng(i)) for i in (0, 1)], 30)
    assert len(places[:, 0, 0].unique()) > 10  # the mutant: one place for all, whose edges go on in the neighbor
    assert (places[:, 0].amax(1) < 10 * 30).all()
    across = torch.arange(30.0).expand(3, 30, 30) / 30
    tiles = shown(whole(permutations=2, gap=0.4, even=False)(ImageBatch(across.expand(64, 3, 30, 30)), rng()))
    assert len((tiles[:, :, 0, 0, 0] * 30).round().unique()) > 12  # of 15 columns at which a tile may begin
    assert tiles.shape == (64, 9, 3, 6, 6)


def test_a_slope_of_light_does_not_tell_a_tiles_place():
    slope = torch.linspace(0, 1, 30).expand(3, 30, 30).contiguous()
    batch = ImageBatch(0.1 * torch.rand(64, 3, 30, 30, generator=rng()) + 0.9 * slope)
    even, plain = (shown(whole(permutations=20, even=how)(batch, rng())).flatten(2) for how in (True, False))
    assert (even.mean(-1) - jigsaw.MEAN).abs().max() < 0.03
    assert plain.mean(-1).std() > 0.2  # the negative control: as they were, it does
    tile = cells(batch.pixels, 3, 10)[:, 0, None]
    expected = (tile - tile.mean((2, 3, 4), True)) / (tile.std((2, 3, 4), correction=0, keepdim=True) + jigsaw.LEAST)
    assert torch.allclose(jigsaw.evened(tile), (expected * jigsaw.DEVIATION + jigsaw.MEAN).clamp(0, 1), atol=1e-5)


def test_every_permutation_is_drawn_alike():
    view, *_ = whole(permutations=4)(images(2000), rng())
    assert (view.target.bincount(minlength=4) / 2000 - 0.25).abs().max() < 0.04


def test_flat_pictures_and_odd_sides_stay_finite_and_a_tile_has_the_size_asked_for():
    modality = ImageModality(size=[32, 47])
    flat = ImageBatch(torch.zeros(2, 3, 32, 47, dtype=torch.uint8))
    for options, size in (({}, (9, 13)), ({"size": 16}, (16, 16))):
        tiles = shown(Jigsaw(modality, **options)(flat, rng()))
        assert tiles.shape == (2, 9, 3, *size)
        assert torch.allclose(tiles, torch.tensor(0.5))


@pytest.mark.parametrize("options", [{"tiles": 4}, {"tiles": 2, "permutations": 25}, {"permutations": 1}, {"gap": 1.0}])
def test_what_cannot_be_cut_is_refused(options):
    with pytest.raises(SensoriumError):
        Jigsaw(ImageModality(size=32), **options)
    with pytest.raises(SensoriumError, match="too small"):
        Jigsaw(ImageModality(size=2))
