"""View generators as transforms: of tensors, of examples in a `Dataset`, of batches; by name, from any plugin."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import sensorium
from sensorium import Learner, View, views
from sensorium.errors import DataError, PluginError, RecipeError, SensoriumError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.modality import ImageModality
from sensorium.registration.discovery import load_extensions
from tests import toys


def images(count=4, side=24, dtype=torch.uint8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), generator=rng, dtype=torch.uint8).to(dtype)


def test_of_a_tensor_it_returns_a_tensor_for_each_view():
    x = images()
    before = x.clone()
    made = views.image.simclr(size=16, views=3)(x)
    assert [(tuple(v.shape), v.dtype) for v in made] == [((4, 3, 16, 16), torch.float32)] * 3
    assert not torch.equal(made[0], made[1])
    assert torch.equal(x, before)


def test_floats_are_images_too():
    x = images()
    transform = views.image.simclr(size=16)
    of_bytes, of_floats = (transform(t, torch.Generator().manual_seed(0))[0] for t in (x, x / 255))
    assert torch.allclose(of_bytes, of_floats, atol=1e-6)


@pytest.mark.parametrize("form", ["array", "tensor", "PIL", "float"])
def test_of_one_example_it_returns_the_views_of_that_one(form):
    x = images(1)[0]
    raw = {"array": x.numpy(), "tensor": x, "PIL": Image.fromarray(x.permute(1, 2, 0).numpy()), "float": x / 255}[form]
    (view,) = views.image.plain(size=24)(raw)
    assert torch.equal(view, x)
    assert [v.shape for v in views.image.simclr(size=16)(raw)] == [(3, 16, 16)] * 2


def test_a_batch_becomes_views_with_targets():
    rotation = views.image.rotation(size=24)
    made = rotation(ImageBatch(images()))
    assert [type(view) for view in made] == [View]
    assert made[0].target.shape == (4,)
    assert torch.equal(
        rotation.views(images(), torch.Generator().manual_seed(0))[0].target,
        rotation.views(ImageBatch(images()), torch.Generator().manual_seed(0))[0].target,
    )


def test_calls_differ_and_repeat_after_manual_seed():
    transform, x = views.image.simclr(size=16), images()
    torch.manual_seed(5)
    first, second = transform(x), transform(x)
    torch.manual_seed(5)
    assert torch.equal(first[0], transform(x)[0])
    assert not torch.equal(first[0], second[0])
    rng = torch.Generator().manual_seed(1)
    state = torch.get_rng_state()
    one, other = transform(x, rng), transform(x, rng)
    assert not torch.equal(one[0], other[0])
    assert torch.equal(torch.get_rng_state(), state), "a generator was handed in"
    assert torch.equal(one[0], transform(x, torch.Generator().manual_seed(1))[0])


class Images(Dataset):
    def __init__(self, transform):
        self.x, self.transform = images(8), transform

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.transform(self.x[0])  # the same image everywhere: only the draws differ


@pytest.mark.parametrize("workers", [0, 2])
def test_as_a_transform_in_a_dataset_every_example_worker_and_epoch_draws_anew(workers):
    def epochs():
        torch.manual_seed(0)
        loader = DataLoader(Images(views.image.simclr(size=16)), batch_size=4, num_workers=workers)
        return [torch.cat([first for first, _ in loader]) for _ in range(2)]

    drawn = torch.cat(epochs()).flatten(1)
    assert len(drawn.unique(dim=0)) == 16
    assert torch.equal(torch.cat(epochs()).flatten(1), drawn)


class Sentences(Dataset):
    texts = ["a red bird", "two small dogs run", "snow"]

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        return self.transform.views(self.texts[i])


def test_views_of_examples_of_any_length_are_joined():
    transform = views.text.deletion(length=16).fit(Sentences.texts * 10)
    ((first, second),) = DataLoader(Sentences(transform), batch_size=3, collate_fn=transform.collate)
    assert first.batch.ids.shape[0] == second.batch.ids.shape[0] == 3
    (one,) = views.text.plain(modality=transform.modality)("a red bird")
    assert type(one) is type(first.batch)
    ((masked,),) = [views.text.random_token_mask(modality=transform.modality).views(transform.batch(Sentences.texts))]
    assert masked.target.shape == masked.batch.ids.shape


def test_a_batch_of_raw_values_is_what_the_modality_makes_of_them():
    transform = views.image.plain(size=24)
    batch = transform.batch([Image.fromarray(x.permute(1, 2, 0).numpy()) for x in images()])
    assert torch.equal(batch.pixels, images())


def test_signals_are_tensors_with_missing_values_and_without():
    x = torch.randn(3, 2, 50)
    weak, strong = views.timeseries.weak_strong()(x)
    assert weak.shape == strong.shape == x.shape
    x[0, 0, :7] = torch.nan
    (view,) = views.timeseries.plain().views(x)
    assert (~view.batch.observed).sum() == 7
    assert view.batch.values.isfinite().all()
    (wave,) = views.audio.plain(sample_rate=8000)(torch.randn(2, 1, 800))
    assert wave.shape == (2, 1, 800)


def test_what_was_not_fitted_says_how_to():
    transform = views.timeseries.augment()
    series = [np.random.default_rng(i).normal(5, 3, (1, 40)).astype(np.float32) for i in range(6)]
    with pytest.raises(DataError, match=r"TimeSeriesModality learns from data before it decodes: call fit\(raws\)"):
        transform(series[0])
    assert [view.shape[0] for view in transform.fit(series)(series[0])] == [1, 1]


def test_a_value_that_cannot_be_decoded_is_named():
    with pytest.raises(DataError, match="Value 1 cannot be decoded by ImageModality: "):
        views.image.plain(size=8).batch([images(1)[0].numpy(), b"no image"])


def test_views_that_differ_in_shape_say_how_to_join_them():
    crops = views.timeseries.overlapping_crops()
    torch.manual_seed(0)
    samples = [crops.views(torch.randn(1, 1, length)) for length in (30, 60)]
    with pytest.raises(SensoriumError, match=r"collate_fn=transform\.batch"):
        crops.collate(samples)


def test_graphs_are_views_of_one_graph():
    first, _ = views.molecule.node_dropping()("CCO")
    assert len(first) == 1
    assert type(first).__name__ == "GraphBatch"


def test_large_images_are_cropped_before_they_are_joined():
    transform = views.image.simclr(size=16, canvas=64)
    made = transform(images(1, side=100)[0].numpy())
    assert [v.shape for v in made] == [(3, 16, 16)] * 2


def test_options_are_those_of_the_view_generator_and_of_its_modality():
    transform = views.image.simclr(size=20, gray=0.5)
    assert transform.modality.size == (20, 20)
    assert views.image.simclr(modality={"size": 20}).modality.size == (20, 20)
    modality = ImageModality(size=12)
    assert views.image["simclr"](modality=modality).modality is modality
    parameters = inspect.signature(views.image.simclr).parameters
    assert {"views", "scale", "size", "canvas", "modality"} <= set(parameters)
    assert all(f"    {name}: " in views.image.simclr.__doc__ for name in parameters)
    with pytest.raises(RecipeError, match=r"views.image.simclr: size belongs to the modality, which is given already"):
        views.image.simclr(modality=modality, size=8)
    with pytest.raises(RecipeError, match=r"views.image.simclr has no option 'siz', did you mean 'size'\?"):
        views.image.simclr(siz=8)
    with pytest.raises(RecipeError, match=r"views.image.simclr.gray = 'often' is not a number"):
        views.image.simclr(gray="often")


def test_names_that_there_are_not_name_the_nearest():
    with pytest.raises(AttributeError, match=r"'image' has no view generator 'simclrr', did you mean 'simclr'"):
        views.image.simclrr  # noqa: B018
    with pytest.raises(PluginError, match=r"did you mean 'random-resized-crop'\?"):
        views.image["random-resized"]
    with pytest.raises(AttributeError, match=r"no modality 'imge', did you mean 'image'\? There are: audio, graph"):
        views.imge  # noqa: B018
    assert not hasattr(views.image, "_repr_html_")


def test_every_registered_view_generator_is_listed():
    registry = load_extensions().registry
    for spec in registry.specs("views"):
        assert spec.name.replace("-", "_") in dir(views.of(spec.modality))
        assert spec.modality in dir(views)


def test_transforms_can_be_pickled():
    transform = pickle.loads(pickle.dumps(views.image.simclr(size=16)))
    assert [v.shape for v in transform(images())] == [(4, 3, 16, 16)] * 2


def test_parts_of_this_process_and_of_plugins_are_found(monkeypatch):
    monkeypatch.setattr("sensorium.registration.discovery._session", [])
    sensorium.register("modality", "vector-two", toys.VectorModality)
    sensorium.register("view", "more-noise", toys.Noise, modality="vector-two")
    transform = views.vector_two.more_noise(width=3, views=4).fit(["1 2 3", "4 5 6"])
    made = transform("1 2 3")
    assert [type(view) for view in made] == [toys.VectorBatch] * 4, "its modality says no tensor is a batch"
    assert dir(views.of("vector-two")) == ["more_noise"]
    encoder = toys.MLP(transform.modality)
    learner = Learner({"vector-two": encoder}, sensorium.build("objective", "simclr", dim=8, width=8))
    samples = [transform.views(raw)[:2] for raw in ("1 2 3", "4 5 6", "0 1 0")]
    assert learner(transform.collate(samples)).loss.isfinite()


def test_keys_reach_the_objective():
    transform = views.image.simclr(size=16)
    made = transform.views(images(), keys={"label:digit": torch.arange(4), "record": torch.arange(4)})
    assert [sorted(view.keys) for view in made] == [["label:digit", "record"]] * 2


@pytest.mark.parametrize("shape", [(3, 24, 24), (24, 24)])
def test_a_tensor_of_other_axes_is_one_example(shape):
    assert views.image.plain(size=24)(torch.zeros(shape, dtype=torch.uint8))[0].shape == (3, 24, 24)


def test_options_of_the_modality_hold_for_tensors_and_single_examples():
    x = images(side=20)
    of_tensor, of_each = views.image.plain(size=16)(x)[0], [views.image.plain(size=16)(image)[0] for image in x]
    assert torch.equal(of_tensor, torch.stack(of_each))
    (wave,) = views.audio.plain(sample_rate=8000, seconds=0.0125)(torch.zeros(2, 1, 500))
    assert wave.shape == (2, 1, 100)


@pytest.mark.parametrize(
    ("x", "advice"),
    [
        (images().numpy(), r"make it a tensor: torch\.from_numpy\(x\)\."),
        (
            [image.numpy() for image in images()],
            r"make it a tensor: torch\.from_numpy\(numpy\.stack\(x\)\), or hand in",
        ),
        (list(images()), r"make it a tensor: torch\.stack\(x\), or hand in transform\.batch\(x\)"),
    ],
)
def test_a_batch_of_arrays_says_to_make_it_a_tensor(x, advice):
    with pytest.raises(DataError, match=advice):
        views.image.simclr(size=16)(x)
