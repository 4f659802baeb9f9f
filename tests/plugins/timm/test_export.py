"""An image encoder becomes a model of timm with the same features."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from sensorium.errors import SensoriumError
from sensorium.plugins.timm.export import Timm
from tests.core.exporters import models

TINY = {"depth": 1, "embed_dim": 32, "num_heads": 2, "patch_size": 8}


def of_timm(size=32, channels=3, fit="crop", background="white", **options):
    encoder = {"name": "timm", "model": "vit_tiny_patch16_224", "model_kwargs": TINY, **options}
    given = {"size": size, "channels": channels, "fit": fit, "background": background}
    return models.model_of("image", encoder, "mae", **given)


@pytest.mark.parametrize(
    "make",
    [
        models.vit,
        lambda: models.vit(pool="cls"),
        of_timm,
        lambda: of_timm(pool="mean", mean=[0.5] * 3, std=[0.25] * 3),
        lambda: of_timm(size=[32, 48], channels=1),
        lambda: models.model_of(
            "image", {"name": "timm", "model": "test_resnet", "stem": "standard"}, "barlow-twins", "simclr", size=64
        ),
    ],
    ids=["vit", "vit-cls", "timm", "timm-mean", "gray-oblong", "resnet"],
)
def test_timm_gives_equal_features(make, tmp_path):
    model = make()
    lines = Timm().export(model, tmp_path)
    assert Timm().verify(model, tmp_path).largest < 1e-5
    modality = model.plan.modalities["image"]
    if modality.channels == 3:
        pixels = np.random.default_rng(0).integers(0, 255, (*modality.size, 3), np.uint8)
        names = {"timm": timm, "image": Image.fromarray(pixels)}
        exec(lines, names)
        wanted = model.embed(image=[pixels], space="features")["image"]
        torch.testing.assert_close(names["features"].detach(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [32, [32, 48]])
@pytest.mark.parametrize("options", [{"fit": "crop"}, {"fit": "stretch"}, {"fit": "pad", "background": "#7f7f7f"}])
def test_images_of_other_shapes_are_prepared_alike(size, options, tmp_path):
    model = of_timm(size=size, mean=[0.498] * 3, std=[0.25] * 3, **options)
    names = {"timm": timm}
    lines = Timm().export(model, tmp_path).splitlines()
    exec("\n".join(lines[:2]), names)
    assert Timm().verify(model, tmp_path).largest < 3 / 255
    for shape in ((96, 48, 3), (32, 144, 3), (64, 64, 3)):
        pixels = np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)
        image = Image.fromarray(pixels).resize(shape[1::-1])
        wanted = model.embed(image=[image], space="features")["image"]
        found = names["model"](names["transform"](image)[None]).detach()
        torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)
    config = json.loads((tmp_path / "config.json").read_text())
    others = {"center", "squash", "border"} - {config["pretrained_cfg"]["crop_mode"]}
    config["pretrained_cfg"]["crop_mode"] = min(others)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SensoriumError, match="difference of pixels of images of other shapes is"):
        Timm().verify(model, tmp_path)


def test_borders_of_another_color_than_the_mean_are_refused(tmp_path):
    model = models.model_of(
        "image", {"name": "vit", "width": 32, "depth": 1, "heads": 2, "patch": 8}, "mae", size=32, fit="pad"
    )
    with pytest.raises(SensoriumError, match=r"color #ffffff .*train with background: '#7c7468'"):
        Timm().export(model, tmp_path)


def test_what_timm_does_not_have_is_refused(tmp_path):
    with pytest.raises(SensoriumError, match="is for encoders of images that timm has"):
        Timm().export(models.molecules(), tmp_path)
    small = models.model_of("image", {"name": "timm", "model": "test_resnet"}, "barlow-twins", "simclr", size=32)
    with pytest.raises(SensoriumError, match="stem for small images, which timm has no option for"):
        Timm().export(small, tmp_path)
