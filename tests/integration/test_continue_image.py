"""The recipe continue-image, made small: from a published layout to a run that needs the file no more."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import sensorium
from sensorium.errors import RecipeError

TINY = {"embed_dim": 48, "depth": 2, "num_heads": 3}
SMALL = [
    *(f"modalities.image.encoder.model_kwargs.{name}={value}" for name, value in TINY.items()),
    *("modalities.image.modality.size=56", "modalities.image.views.local_size=28", "data.batch=4", "data.workers=0"),
    *("objective={name: dinov2, prototypes: 16, width: 32, bottleneck: 8, momentum: 0.994}", "train.accelerator=cpu"),
    *("log.loggers={}", "evaluate.evaluators={}"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("continue")
    (folder / "images").mkdir()
    draw = np.random.default_rng(0)
    for number in range(12):
        pixels = draw.integers(0, 256, (60, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch14_dinov2.lvd142m", num_classes=0, img_size=84, init_values=1.0, **TINY)
    torch.save(model.state_dict() | {"mask_token": torch.full((1, 48), 0.3)}, folder / "dinov2.pth")
    return folder


def continued(place, run, *changes):
    weights = f"modalities.image.weights={place / 'dinov2.pth'}"
    overrides = [f"data.source.path={place / 'images'}", weights, *SMALL, *changes]
    return sensorium.fit("continue-image", overrides, run_dir=place / run)


def test_weights_that_are_not_there_are_asked_for_before_data_is_read(place):
    with pytest.raises(
        RecipeError, match=r"modalities.image.weights: There is no file or folder dinov2_vits14.pth"
    ) as e:
        sensorium.fit("continue-image", ["data.source.path=nowhere", *SMALL])
    assert "published as hub:timm/vit_small_patch14_dinov2.lvd142m" in str(e.value)


def test_heads_are_trained_first_and_then_the_last_layers(place):
    given = torch.load(place / "dinov2.pth")
    heads = continued(place, "heads", "train.steps=2", "modalities.image.unfreeze=[1.0, 1.0]")
    encoder = heads.encoder("image")
    assert torch.equal(encoder.model.blocks[0].mlp.fc1.weight, given["blocks.0.mlp.fc1.weight"])
    assert encoder.model.pos_embed.shape[1] == 1 + 16 != given["pos_embed"].shape[1]
    late = continued(place, "late", "train.steps=8", "modalities.image.unfreeze=[0.0, 0.9]").encoder("image")
    moved = [(late.model.blocks[i].mlp.fc1.weight - given[f"blocks.{i}.mlp.fc1.weight"]).abs().max() for i in (0, 1)]
    assert 0 < moved[1] < 1e-2
    assert moved[0] < moved[1]


def test_the_run_needs_the_file_no_more(place):
    model = continued(place, "run", "train.steps=2")
    (place / "dinov2.pth").rename(place / "gone.pth")
    opened = sensorium.load(place / "run")
    pixels = torch.rand(2, 3, 56, 56)
    embedded = [m.embed(image=list(pixels))["image"] for m in (model, opened)]
    (place / "gone.pth").rename(place / "dinov2.pth")
    assert torch.equal(*embedded)
    assert opened.encoder("image").mask_embedding() is not None
