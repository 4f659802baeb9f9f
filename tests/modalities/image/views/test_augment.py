"""The augmentation policy of one view, and crops cut on the loader worker."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium import SensoriumError, ViewGenerator
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views import augment
from sensorium.modalities.image.views.augment import Augmentation, AugmentedViews

EVERYTHING = {
    "ranges": (0.8, 0.8, 0.8, 0.2),
    "jitter": 0.8,
    "gray": 0.3,
    "blur": 0.5,
    "solarize": 0.3,
}
STILL = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(policy: Augmentation, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return one view of each image."""
    n, channels, *full = batch.shape
    return policy(batch, policy.draw(n, channels, tuple(full), generator))


def pixels(n: int, channels: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=rng())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.sampled_from([1, 3, 5]), st.integers(1, 33), st.integers(1, 33), st.booleans())
def test_values_lie_in_0_to_1_and_the_input_is_not_changed(n, channels, height, width, as_float):
    given_pixels = pixels(n, channels, height, width)
    given_pixels = given_pixels.float() / 255 if as_float else given_pixels
    kept = given_pixels.clone()
    view = made(Augmentation((17, 12), **EVERYTHING), given_pixels, rng())
    assert view.shape == (n, channels, 17, 12)
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 1 + 1e-5
    assert torch.equal(given_pixels, kept)


def test_probability_0_is_the_identity():
    batch = pixels(4, 3, 16, 16)
    view = made(Augmentation((16, 16), **STILL), batch, rng())
    torch.testing.assert_close(view, batch / 255, atol=1e-5, rtol=0)


def test_uint8_and_float_pixels_give_the_same_view():
    policy, batch = Augmentation((16, 16), **EVERYTHING), pixels(8, 3, 16, 16)
    torch.testing.assert_close(made(policy, batch, rng()), made(policy, batch / 255, rng()))


def test_the_generator_determines_the_view():
    policy, batch = Augmentation((16, 16), **EVERYTHING), pixels(8, 3, 16, 16)
    assert torch.equal(made(policy, batch, rng(1)), made(policy, batch, rng(1)))
    assert not torch.equal(made(policy, batch, rng(1)), made(policy, batch, rng(2)))
    one = rng(1)
    assert not torch.equal(made(policy, batch, one), made(policy, batch, one))


def test_a_row_depends_on_its_own_parameters_alone():
    policy, batch = Augmentation((16, 16), **EVERYTHING), pixels(9, 3, 20, 14)
    params = policy.draw(9, 3, (20, 14), rng())
    whole = policy(batch, params)
    for row in range(len(batch)):
        alone = slice(row, row + 1)
        torch.testing.assert_close(policy(batch[alone], params.select(alone)), whole[alone], atol=1e-5, rtol=0)


def test_chunks_change_nothing(monkeypatch):
    policy, batch = Augmentation((16, 16), **EVERYTHING), pixels(9, 3, 16, 16)
    whole = made(policy, batch, rng())
    monkeypatch.setattr(augment, "CHUNK", 2 * 3 * 16 * 16)
    torch.testing.assert_close(made(policy, batch, rng()), whole, atol=1e-5, rtol=0)


def test_views_of_a_policy_are_drawn_at_once_and_differ():
    policy, batch = Augmentation((16, 16), **EVERYTHING), pixels(5, 3, 16, 16)
    views = policy(batch, policy.draw(10, 3, (16, 16), rng()))
    assert views.shape == (10, 3, 16, 16)
    assert not torch.equal(views[:5], views[5:])
    still = Augmentation((16, 16), **STILL)
    same = still(batch, still.draw(10, 3, (16, 16), rng()))
    torch.testing.assert_close(same, torch.cat([batch, batch]) / 255, atol=1e-5, rtol=0)


def test_no_images_have_no_views():
    assert made(Augmentation((16, 16), **EVERYTHING), pixels(0, 3, 20, 20), rng()).shape == (0, 3, 16, 16)


def test_the_global_generator_is_not_used():
    state = torch.get_rng_state()
    made(Augmentation((16, 16), **EVERYTHING), pixels(4, 3, 16, 16), rng())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"blur": -0.1},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 2.0)},
        {"ratio": (2.0, 1.0)},
        {"ranges": (0, 0, 0, 0.6)},
    ],
)
def test_invalid_policies_are_refused(wrong):
    with pytest.raises(SensoriumError):
        Augmentation((8, 8), **wrong)


def test_without_a_canvas_there_is_no_stage():
    views = AugmentedViews(ImageModality(size=8), [Augmentation((8, 8))])
    assert type(views).stage is ViewGenerator.stage
    assert "stage" not in vars(views)


def test_crops_of_a_canvas_follow_the_same_policy():
    modality = ImageModality(size=8, canvas=32)
    still = Augmentation((8, 8), **STILL)
    views = AugmentedViews(modality, [still, still], [dataclasses.replace(still, size=(4, 4))])
    gradient_values = np.broadcast_to(np.linspace(0, 255, 32, dtype=np.uint8), (3, 32, 32))
    staged = [views.stage(gradient_values, rng(i)) for i in range(3)]
    cut = views(modality.collate(staged), rng())
    assert [tuple(view.batch.pixels.shape) for view in cut] == [(3, 3, 8, 8), (3, 3, 8, 8), (3, 3, 4, 4)]
    direct = made(still, torch.tensor(gradient_values)[None], rng())
    torch.testing.assert_close(cut[0].batch.pixels[:1], direct, atol=1 / 255, rtol=0)


def test_the_stage_uses_only_its_generator():
    modality = ImageModality(size=8, canvas=32)
    views = AugmentedViews(modality, [Augmentation((8, 8))] * 2)
    example = pixels(1, 3, 32, 48)[0].numpy()
    one, same, other = (views.stage(example, rng(seed)).global_crops for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[:, 0], one[:, 1])


def cleanly(clean_scale, distorted=True, **of_modality):
    """A generator of two global views with clean copies, and a local one; with distortions it draws the same crops."""
    modality = ImageModality(size=8, **of_modality)
    policy = Augmentation((8, 8), **(EVERYTHING if distorted else {}))
    return AugmentedViews(modality, [policy, policy], [dataclasses.replace(policy, size=(4, 4))], clean_scale)


def test_clean_copies_are_the_same_crops_without_distortions():
    images = ImageModality(size=8).collate([*pixels(5, 3, 24, 24).numpy()])
    draws = cleanly(1).draw(images, rng())
    views, plain, without = (g.make(images, draws) for g in (cleanly(1), cleanly(0, distorted=False), cleanly(0)))
    assert [set(view.info) for view in views] == [{"clean"}, {"clean"}, set()]
    for view, crop, same in zip(views, plain, without, strict=True):
        assert torch.equal(view.batch.pixels, same.batch.pixels)
        if view.info:
            assert torch.equal(view.info["clean"], crop.batch.pixels)
            assert not torch.allclose(view.info["clean"], view.batch.pixels, atol=0.05)


def test_clean_copies_of_a_higher_resolution_show_the_same_place():
    """A ramp from left to right: whatever is cropped and flipped, the mean of 2 x 2 pixels is the view's own pixel."""
    ramp = torch.linspace(0, 255, 64).round().to(torch.uint8).expand(6, 3, 64, 64)
    images = ImageModality(size=8).collate([*ramp.numpy()])
    for view in cleanly(2, distorted=False)(images, rng())[:2]:
        assert view.info["clean"].shape == (6, 3, 16, 16)
        pooled = torch.nn.functional.avg_pool2d(view.info["clean"], 2)
        assert torch.allclose(pooled, view.batch.pixels, atol=0.02)
    local = cleanly(2, distorted=False)(images, rng())[2]
    assert local.batch.pixels.shape == (6, 3, 4, 4)


def test_clean_copies_of_a_canvas_have_its_resolution():
    views = cleanly(2, distorted=False, canvas=32)
    stripes = np.broadcast_to(np.arange(64) // 2 % 2 * 255, (3, 64, 64)).astype(np.uint8)
    batch = views.modality.collate([views.stage(stripes, rng(i)) for i in range(8)])
    assert batch.global_crops.shape[2:] == (3, 16, 16)
    first, _, local = views(batch, rng())
    assert first.batch.pixels.shape == (8, 3, 8, 8)
    assert local.batch.pixels.shape == (8, 3, 4, 4)
    for clean, crop in zip(first.info["clean"], batch.global_crops[:, 0] / 255, strict=True):
        assert torch.allclose(clean, crop, atol=1e-5) or torch.allclose(clean, crop.flip(2), atol=1e-5)
