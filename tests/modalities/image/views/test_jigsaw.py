"""Jigsaw puzzles: tiles, targets, and the removal of shortcuts."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium import SensoriumError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views import jigsaw
from sensorium.modalities.image.views.jigsaw import JigsawViews, permutation_set


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def whole(grid=3, side=30, **options):
    """A generator that neither crops nor flips nor converts to grayscale."""
    return JigsawViews(ImageModality(size=side), grid, scale=(1.0, 1.0), flip=0.0, gray=0.0, **options)


def images(n=5, side=30, seed=0):
    return ImageBatch(torch.rand(n, 3, side, side, generator=rng(seed)))


def cells(x_BCHW, grid, side):
    """Split images into their cells: (B, N, C, side, side)."""
    x = x_BCHW[:, :, : grid * side, : grid * side].unfold(2, side, side).unfold(3, side, side)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def shown(views):
    """The tiles in the order of the views: (B, N, C, h, w)."""
    return torch.stack([view.batch.pixels for view in views], 1)


@pytest.mark.parametrize(("grid", "count"), [(2, 24), (3, 100)])
def test_permutations_are_different_and_far_from_each_other(grid, count):
    orders = permutation_set(grid, count)
    assert orders.shape == (count, grid**2)
    assert torch.equal(orders.sort(1).values, torch.arange(grid**2).expand(count, -1))
    distance = (orders[:, None] != orders[None]).sum(-1) + 99 * torch.eye(count, dtype=torch.long)
    assert distance.min() >= (2 if grid == 2 else 6)
    random = torch.stack([torch.randperm(grid**2, generator=rng(i)) for i in range(count)])
    between = (random[:, None] != random[None]).sum(-1) + 99 * torch.eye(count, dtype=torch.long)
    assert grid == 2 or between.min() < 6  # the negative control: random ones are not so far apart
    assert torch.equal(permutation_set.__wrapped__(grid, count), orders)


def test_fewer_permutations_are_the_first_of_more():
    assert torch.equal(permutation_set(3, 5), permutation_set(3, 100)[:5])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), grid=st.sampled_from([2, 3]))
def test_without_a_gap_every_view_is_the_tile_that_the_target_names(seed, grid):
    side, batch = 30 // grid, images(seed=seed)
    generator = whole(grid, permutations=20, gap=0.0, normalize=False)
    views = generator(batch, rng(seed))
    assert len(views) == generator.views == grid**2
    before, after = cells(batch.pixels, grid, side), shown(views)
    assert all(torch.equal(view.target, views[0].target) for view in views)
    for b, target in enumerate(views[0].target.tolist()):
        order = permutation_set(grid, 20)[target]
        for position, tile in enumerate(order.tolist()):
            assert torch.allclose(after[b, position], before[b, tile], atol=1e-5)
            if tile != position:  # the mutant: tiles that are not moved
                assert not torch.allclose(after[b, position], before[b, position], atol=1e-2)


def test_the_permutation_maps_views_to_tiles_and_not_tiles_to_views():
    cyclic = next(i for i, p in enumerate(permutation_set(3, 100)) if not torch.equal(p, p.argsort()))
    order = permutation_set(3, 100)[cyclic]
    batch = images(400)
    views = whole(permutations=100, gap=0.0, normalize=False)(batch, rng())
    row = (views[0].target == cyclic).nonzero()[0, 0]
    before, after = cells(batch.pixels, 3, 10)[row], shown(views)[row]
    right = [torch.allclose(after[i], before[j], atol=1e-5) for i, j in enumerate(order.tolist())]
    inverse = [torch.allclose(after[i], before[j], atol=1e-5) for i, j in enumerate(order.argsort().tolist())]
    assert all(right)
    assert not all(inverse)


def test_tiles_are_random_crops_of_their_cells():
    generator = whole(permutations=2, gap=0.4)
    assert (generator.tile, generator.cell) == ((6, 6), (10, 10))
    index = generator.pixel_indices([torch.randint(5, (64, 9), generator=rng(i)) for i in (0, 1)], 30)
    assert len(index[:, 0, 0].unique()) > 10  # the mutant: one position for all, whose edges continue in the neighbor
    assert (index[:, 0].amax(1) < 10 * 30).all()
    across = torch.arange(30.0).expand(3, 30, 30) / 30
    tiles = shown(whole(permutations=2, gap=0.4, normalize=False)(ImageBatch(across.expand(64, 3, 30, 30)), rng()))
    assert len((tiles[:, :, 0, 0, 0] * 30).round().unique()) > 12  # of 15 columns at which a tile may begin
    assert tiles.shape == (64, 9, 3, 6, 6)


def test_a_brightness_gradient_does_not_reveal_a_tiles_position():
    slope = torch.linspace(0, 1, 30).expand(3, 30, 30).contiguous()
    batch = ImageBatch(0.1 * torch.rand(64, 3, 30, 30, generator=rng()) + 0.9 * slope)
    normalized, plain = (shown(whole(permutations=20, normalize=how)(batch, rng())).flatten(2) for how in (True, False))
    assert (normalized.mean(-1) - jigsaw.MEAN).abs().max() < 0.03
    assert plain.mean(-1).std() > 0.2  # the negative control: without normalization it does
    tile = cells(batch.pixels, 3, 10)[:, 0, None]
    expected = (tile - tile.mean((2, 3, 4), True)) / (tile.std((2, 3, 4), correction=0, keepdim=True) + jigsaw.EPS)
    assert torch.allclose(jigsaw.normalize_tiles(tile), (expected * jigsaw.STD + jigsaw.MEAN).clamp(0, 1), atol=1e-5)


def test_permutations_are_uniform():
    view, *_ = whole(permutations=4)(images(2000), rng())
    assert (view.target.bincount(minlength=4) / 2000 - 0.25).abs().max() < 0.04


def test_constant_images_and_odd_sides_stay_finite_and_tiles_have_the_requested_size():
    modality = ImageModality(size=[32, 47])
    flat = ImageBatch(torch.zeros(2, 3, 32, 47, dtype=torch.uint8))
    for options, size in (({}, (9, 13)), ({"tile_size": 16}, (16, 16))):
        tiles = shown(JigsawViews(modality, **options)(flat, rng()))
        assert tiles.shape == (2, 9, 3, *size)
        assert torch.allclose(tiles, torch.tensor(0.5))


@pytest.mark.parametrize("options", [{"grid": 4}, {"grid": 2, "permutations": 25}, {"permutations": 1}, {"gap": 1.0}])
def test_invalid_options_are_refused(options):
    with pytest.raises(SensoriumError):
        JigsawViews(ImageModality(size=32), **options)
    with pytest.raises(SensoriumError, match="too small"):
        JigsawViews(ImageModality(size=2))
