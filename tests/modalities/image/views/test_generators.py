"""The registered view generators: number of views, sizes, targets and masks."""

import pytest
import torch
from torchvision.transforms import v2

from sensorium import SensoriumError
from sensorium.modalities.image import sensorium_register_views
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views.multicrop import MultiCropViews
from sensorium.modalities.image.views.patch_masks import BlockPatchMaskViews, RandomPatchMaskViews, block_mask
from sensorium.modalities.image.views.plain import PlainViews
from sensorium.modalities.image.views.random_resized_crop import RandomResizedCropViews
from sensorium.modalities.image.views.rotation import RotationViews
from sensorium.modalities.image.views.simclr import SimCLRViews
from sensorium.registration.options import options_of
from sensorium.registration.registry import Register


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(n: int = 6, side: int = 32, channels: int = 3) -> ImageBatch:
    return ImageBatch(torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8, generator=rng()))


def registered():
    register = Register("views", "image", "sensorium")
    sensorium_register_views(register)
    return register.specs


@pytest.mark.parametrize("spec", registered(), ids=lambda spec: spec.name)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("canvas", [None, 40])
def test_every_generator_keeps_the_contract(spec, channels, canvas):
    if spec.name == "colorization" and channels != 3:
        pytest.skip("it needs RGB")
    modality = ImageModality(size=32, channels=channels, canvas=canvas)
    generator = spec.load()(modality)
    examples = [modality.decode(x) for x in batch(3, 50, channels).pixels.numpy()]
    given = modality.collate([generator.stage(e, rng(i)) for i, e in enumerate(examples)])
    kept = {name: x.clone() for name, x in given.tensors().items()}
    views, again = generator(given, rng(1)), generator(given, rng(1))
    assert len(views) == generator.views
    for view, same in zip(views, again, strict=True):
        assert isinstance(view.batch, ImageBatch)
        assert len(view) == 3
        assert torch.equal(view.batch.pixels, same.batch.pixels)
        assert (view.target is not None) == (generator.target is not None)
    assert all(torch.equal(x, kept[name]) for name, x in given.tensors().items())
    assert all(option.help for option in options_of(spec.load(), skip=1))


def test_plain_is_the_image_itself():
    given = batch()
    (view,) = PlainViews(ImageModality(size=32))(given, rng())
    assert torch.equal(view.batch.pixels, given.pixels)


def test_random_resized_crop_neither_flips_nor_changes_colors():
    given = ImageBatch(torch.arange(32, dtype=torch.uint8).mul(8).expand(8, 3, 32, 32).contiguous())
    (view,) = RandomResizedCropViews(ImageModality(size=32))(given, rng())
    assert (view.batch.pixels.diff(dim=-1) >= -1e-5).all()


def test_simclr_blurs_from_64_pixels_and_makes_views_that_differ():
    assert SimCLRViews(ImageModality(size=32)).global_policies[0].blur == 0
    assert SimCLRViews(ImageModality(size=64)).global_policies[0].blur == 0.5
    assert SimCLRViews(ImageModality(size=32), blur=0.2).global_policies[0].blur == 0.2
    one, other, third = SimCLRViews(ImageModality(size=32), views=3)(batch(), rng())
    assert not torch.equal(one.batch.pixels, other.batch.pixels)
    assert not torch.equal(other.batch.pixels, third.batch.pixels)


def test_simclr_has_the_statistics_of_torchvisions_pipeline():
    one = batch(1, 32).pixels[0]
    torch.manual_seed(0)
    theirs = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomResizedCrop(32, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], 0.8),
            v2.RandomGrayscale(0.2),
        ]
    )
    expected = torch.stack([theirs(one) for _ in range(1200)])
    views = SimCLRViews(ImageModality(size=32))(ImageBatch(one.expand(4000, -1, -1, -1)), rng())
    ours = torch.cat([view.batch.pixels for view in views])
    for metric in (
        lambda x: x.mean((1, 2, 3)),
        lambda x: x.std((1, 2, 3)),
        lambda x: (x[:, 0] - x[:, 2]).abs().mean((1, 2)),
    ):
        mine, their = metric(ours), metric(expected)
        error = their.std() / len(their) ** 0.5
        assert abs(mine.mean() - their.mean()) < 4.5 * error
        assert abs(mine.std() / their.std() - 1) < 0.1


def test_multicrop_gives_global_views_then_local_ones():
    views = MultiCropViews(ImageModality(size=32), local_views=3)(batch(), rng())
    assert [view.batch.pixels.shape[-1] for view in views] == [32, 32, 16, 16, 16]
    generator = MultiCropViews(ImageModality(size=32), global_views=3, local_views=0)
    assert [(policy.blur, policy.solarize) for policy in generator.global_policies] == [
        (1.0, 0.0),
        (0.1, 0.2),
        (0.1, 0.2),
    ]
    assert len(generator(batch(), rng())) == generator.views == 3


def test_rotation_is_by_its_target():
    given = batch(40)
    generator = RotationViews(ImageModality(size=32), scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    (view,) = generator(given, rng())
    assert sorted(view.target.unique().tolist()) == [0, 1, 2, 3]
    for made, image, turns in zip(view.batch.pixels, given.pixels / 255, view.target.tolist(), strict=True):
        torch.testing.assert_close(made, image.rot90(turns, (-2, -1)), atol=1e-5, rtol=0)
    with pytest.raises(SensoriumError, match="square"):
        RotationViews(ImageModality(size=[32, 16]))


@pytest.mark.parametrize("kind", [RandomPatchMaskViews, BlockPatchMaskViews])
def test_every_row_has_equally_many_masked_patches(kind):
    generator = kind(ImageModality(size=[32, 16]), mask_ratio=0.5, patch=4)
    (view,) = generator(ImageBatch(batch(20).pixels[..., :16]), rng())
    mask = view.info["masked"]
    assert mask.dtype == torch.bool
    assert mask.shape == (20, 32)
    assert (mask.sum(1) == 16).all()
    assert len(mask.unique(dim=0)) > 10


def test_random_masks_are_uniform_over_patches():
    (view,) = RandomPatchMaskViews(ImageModality(size=32), mask_ratio=0.25)(batch(4000), rng())
    assert (view.info["masked"].float().mean(0) - 0.25).abs().max() < 0.04


def test_block_masks_are_contiguous():
    side, masked = 14, 80
    blocks = block_mask(200, side, side, masked, rng()).view(200, side, side).float()
    alone = torch.rand(200, side * side, generator=rng()).argsort(1).argsort(1).lt(masked).view(200, side, side).float()

    def neighbors(mask: torch.Tensor) -> torch.Tensor:
        return (mask[:, 1:] * mask[:, :-1]).sum()

    assert (blocks.sum((1, 2)) == masked).all()
    assert neighbors(blocks) > 1.5 * neighbors(alone)


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0])
def test_masks_leave_visible_and_masked_patches(mask_ratio):
    with pytest.raises(SensoriumError, match="mask_ratio"):
        RandomPatchMaskViews(ImageModality(size=32), mask_ratio=mask_ratio)
