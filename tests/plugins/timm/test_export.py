"""An image encoder becomes a model of timm with the same features."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from sensorium.errors import SensoriumError
from sensorium.plugins.timm.export import Timm
from tests.core.exporters import models

TINY = {"depth": 1, "embed_dim": 32, "num_heads": 2, "patch_size": 8}


def of_timm(size=32, channels=3, **options):
    encoder = {"name": "timm", "model": "vit_tiny_patch16_224", "model_kwargs": TINY, **options}
    return models.model_of("image", encoder, "mae", size=size, channels=channels)


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


def test_what_timm_does_not_have_is_refused(tmp_path):
    with pytest.raises(SensoriumError, match="is for encoders of images that timm has"):
        Timm().export(models.molecules(), tmp_path)
    small = models.model_of("image", {"name": "timm", "model": "test_resnet"}, "barlow-twins", "simclr", size=32)
    with pytest.raises(SensoriumError, match="stem for small images, which timm has no option for"):
        Timm().export(small, tmp_path)
