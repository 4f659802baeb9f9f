"""The law of one view as a whole, and crops cut on the worker."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import SensoriumError, ViewGenerator
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views import augment
from sensorium.modalities.image.views.augment import Augment, AugmentedViews

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


def pixels(n: int, channels: int, height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=rng())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.sampled_from([1, 3, 5]), st.integers(1, 33), st.integers(1, 33), st.booleans())
def test_any_batch_gives_values_from_0_to_1_and_stays(n, channels, height, width, as_float):
    given_pixels = pixels(n, channels, height, width)
    given_pixels = given_pixels.float() / 255 if as_float else given_pixels
    kept = given_pixels.clone()
    view = Augment((17, 12), **EVERYTHING)(given_pixels, rng())
    assert view.shape == (n, channels, 17, 12)
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 1 + 1e-5
    assert torch.equal(given_pixels, kept)


def test_probability_0_is_the_picture():
    batch = pixels(4, 3, 16, 16)
    view = Augment((16, 16), **STILL)(batch, rng())
    torch.testing.assert_close(view, batch / 255, atol=1e-5, rtol=0)


def test_uint8_and_float_pixels_give_the_same_view():
    law, batch = Augment((16, 16), **EVERYTHING), pixels(8, 3, 16, 16)
    torch.testing.assert_close(law(batch, rng()), law(batch / 255, rng()))


def test_the_generator_decides_everything():
    law, batch = Augment((16, 16), **EVERYTHING), pixels(8, 3, 16, 16)
    assert torch.equal(law(batch, rng(1)), law(batch, rng(1)))
    assert not torch.equal(law(batch, rng(1)), law(batch, rng(2)))
    one = rng(1)
    assert not torch.equal(law(batch, one), law(batch, one))


def test_a_row_depends_on_its_own_parameters_alone():
    law, batch = Augment((16, 16), **EVERYTHING), pixels(9, 3, 20, 14)
    draw = law.draw(batch, rng())
    whole = law.apply(batch, draw)
    for row in range(len(batch)):
        alone = slice(row, row + 1)
        torch.testing.assert_close(law.apply(batch[alone], draw[alone]), whole[alone], atol=1e-5, rtol=0)


def test_chunks_do_not_show(monkeypatch):
    law, batch = Augment((16, 16), **EVERYTHING), pixels(9, 3, 16, 16)
    whole = law(batch, rng())
    monkeypatch.setattr(augment, "CHUNK", 2 * 3 * 16 * 16)
    torch.testing.assert_close(law(batch, rng()), whole, atol=1e-5, rtol=0)


def test_global_randomness_is_left_alone():
    state = torch.get_rng_state()
    Augment((16, 16), **EVERYTHING)(pixels(4, 3, 16, 16), rng())
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
def test_laws_that_are_none_are_refused(wrong):
    with pytest.raises(SensoriumError):
        Augment((8, 8), **wrong)


def test_without_a_canvas_there_is_no_stage():
    views = AugmentedViews(ImageModality(size=8), [Augment((8, 8))])
    assert type(views).stage is ViewGenerator.stage
    assert "stage" not in vars(views)


def test_crops_are_cut_from_a_canvas_by_the_same_law():
    modality = ImageModality(size=8, canvas=32)
    still = Augment((8, 8), **STILL)
    views = AugmentedViews(modality, [still, still], [dataclasses.replace(still, size=(4, 4))])
    ramp = np.broadcast_to(np.linspace(0, 255, 32, dtype=np.uint8), (3, 32, 32))
    staged = [views.stage(ramp, rng(i)) for i in range(3)]
    made = views(modality.collate(staged), rng())
    assert [tuple(view.batch.pixels.shape) for view in made] == [(3, 3, 8, 8), (3, 3, 8, 8), (3, 3, 4, 4)]
    direct = still(torch.tensor(ramp)[None], rng())
    torch.testing.assert_close(made[0].batch.pixels[:1], direct, atol=1 / 255, rtol=0)


def test_stage_draws_from_its_generator_alone():
    modality = ImageModality(size=8, canvas=32)
    views = AugmentedViews(modality, [Augment((8, 8))] * 2)
    example = pixels(1, 3, 32, 48)[0].numpy()
    one, same, other = (views.stage(example, rng(seed)).large for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[:, 0], one[:, 1])
