"""A run becomes a model of open_clip with the same embeddings, and a recipe starts from such a folder."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import sensorium
from sensorium.errors import SensoriumError
from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.plugins.openclip.export import WEIGHTS, OpenClip
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.testing.synthetic import ToyEncoder

TEXTS = ["a red square", "the blue circle, twice", "x"]
VIT = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
ARCHITECTURES = {
    "tiny-vit": {"embed_dim": 24, "vision_cfg": VIT},
    "tiny-quick": {"embed_dim": 24, "vision_cfg": VIT, "quick_gelu": True},
    "tiny-rn": {"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16}},
    "tiny-timm": {
        "embed_dim": 24,
        "vision_cfg": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
    },
}


@pytest.fixture(autouse=True)
def small(tmp_path):
    """Small architectures, known to open_clip while a test runs."""
    text = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    for name, config in ARCHITECTURES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config | {"text_cfg": text}))
        open_clip.add_model_config(tmp_path / f"{name}.json")


def model_of(image="tiny-vit", text="tiny-vit", objective="clip", dim=16, **options):
    recipe = {
        "data": {},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32, **options},
                "views": "plain",
                "encoder": {"name": "open-clip-image", "model": image},
            },
            "text": {
                "modality": {"name": "text", "tokenizer": "open_clip", "length": 20},
                "views": "plain",
                "encoder": {"name": "open-clip-text", "model": text},
            },
        },
        "objective": {"name": objective, "dim": dim},
        "train": {"steps": 1},
    }
    extensions = load_extensions({}, [])
    model = Model.untrained(make_plan(read_recipe(recipe, extensions.registry), extensions), lambda name: None)
    with torch.no_grad():
        for name in ("image", "text"):  # no map is the identity, so that one that was forgotten shows
            model.learner.objective.project[name].weight.normal_()
        model.learner.objective.log_scale.fill_(1.5)
    return model


@pytest.fixture
def pictures():
    return [Image.fromarray(p) for p in np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("objective", ["clip", "siglip"])
def test_open_clip_gives_equal_embeddings(architecture, objective, pictures, tmp_path):
    ours = model_of(architecture, "tiny-quick" if architecture == "tiny-quick" else "tiny-vit", objective)
    out = tmp_path / "out"
    out.mkdir()
    lines = OpenClip().export(ours, out)
    assert OpenClip().verify(ours, out).largest < 1e-4
    names = {"open_clip": open_clip}
    exec(lines, names)  # the lines that the person is told to write
    theirs, preprocess, tokenizer = names["model"].eval(), names["preprocess"], names["tokenizer"]
    with torch.no_grad():
        images = theirs.encode_image(torch.stack([preprocess(picture) for picture in pictures]))
        texts = theirs.encode_text(tokenizer(TEXTS))
    wanted = ours.embed(image=pictures, text=TEXTS)
    torch.testing.assert_close(images, wanted["image"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(texts, wanted["text"], rtol=1e-5, atol=1e-5)
    assert images.shape == (3, 16)
    assert theirs.logit_scale.item() == pytest.approx(1.5)
    if objective == "siglip":
        assert theirs.logit_bias.item() == pytest.approx(-10.0)


@pytest.mark.parametrize("size", [32, [32, 48]])
@pytest.mark.parametrize("options", [{"fit": "crop"}, {"fit": "stretch"}, {"fit": "pad", "background": "#20c010"}])
def test_images_of_other_shapes_are_prepared_alike(size, options, tmp_path):
    model = model_of(size=size, **options)
    OpenClip().export(model, tmp_path)
    assert "pixels of images of other shapes" in OpenClip().verify(model, tmp_path).differences
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["resize_mode"] = "longest" if options["fit"] == "stretch" else "squash"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(SensoriumError, match="difference of pixels of images of other shapes is"):
        OpenClip().verify(model, tmp_path)


def test_a_recipe_starts_from_an_exported_folder(pictures, tmp_path):
    first = model_of()
    (tmp_path / "out").mkdir()
    OpenClip().export(first, tmp_path / "out")
    folder = f"local-dir:{tmp_path / 'out'}"
    plan = model_of(folder, folder).plan
    second = Model(plan, plan.learner())  # the map of one width to itself starts as the identity
    wanted, found = (m.embed(image=pictures, text=TEXTS) for m in (first, second))
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-5, atol=1e-5)


def test_weights_may_be_written_in_half_precision(pictures, tmp_path):
    ours = model_of()
    lines = OpenClip(dtype="float16").export(ours, tmp_path)
    assert {w.dtype for w in load_file(tmp_path / WEIGHTS).values() if w.is_floating_point()} == {torch.float16}
    assert 1e-6 < OpenClip(dtype="float16").verify(ours, tmp_path).largest < 0.02
    names = {"open_clip": open_clip}
    exec(lines, names)
    with torch.no_grad():
        found = names["model"].eval().encode_image(torch.stack([names["preprocess"](p) for p in pictures]))
    torch.testing.assert_close(found, ours.embed(image=pictures)["image"], rtol=0.02, atol=0.02)


def test_what_open_clip_cannot_hold_is_refused(tmp_path):
    model = model_of()
    project = model.learner.objective.project
    project["image"] = torch.nn.Sequential(project["image"], torch.nn.ReLU())
    with pytest.raises(SensoriumError, match="more than a linear map"):
        OpenClip().export(model, tmp_path)
    with pytest.raises(SensoriumError, match="QuickGELU"):
        OpenClip().export(model_of("tiny-quick", "tiny-vit"), tmp_path)
    model = model_of()
    model.learner.encoders["text"] = ToyEncoder(3, 3)
    with pytest.raises(SensoriumError, match="the two towers of an open_clip architecture"):
        OpenClip().export(model, tmp_path)


def test_a_folder_brings_its_own_weights(tmp_path):
    with pytest.raises(SensoriumError, match="has no open_clip configuration"):
        model_of(f"local-dir:{tmp_path}")
    assert sensorium.Exporter in OpenClip.__mro__
