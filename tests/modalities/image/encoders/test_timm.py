"""Models of timm: stems, sizes, checkpoints."""

import pytest
import timm
import torch

from sensorium import SensoriumError
from sensorium.errors import RecipeError
from sensorium.modalities.image.batch import ImageBatch
from sensorium.modalities.image.encoders.timm import Timm
from sensorium.modalities.image.modality import ImageModality
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.weights import load_weights


def test_small_images_get_a_small_stem():
    small, large = Timm(ImageModality(size=32), "resnet10t"), Timm(ImageModality(size=96), "resnet10t")
    assert isinstance(small.model.maxpool, torch.nn.Identity)
    assert small.model.conv1[0].stride == (1, 1)
    assert not isinstance(large.model.maxpool, torch.nn.Identity)
    plain = Timm(ImageModality(size=96), "resnet18", stem="small")
    assert plain.model.conv1.kernel_size == (3, 3)
    tokens = small(ImageBatch(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))).tokens
    assert tokens.shape == (2, 16, 512)


def test_only_resnets_have_a_small_stem():
    Timm(ImageModality(size=32), "test_vit")  # auto leaves it
    with pytest.raises(SensoriumError, match="is not one"):
        Timm(ImageModality(size=32), "test_vit", stem="small")


def test_a_transformer_takes_local_crops():
    encoder = Timm(ImageModality(size=64), "test_vit").eval()
    for side in (64, 32):
        features = encoder(ImageBatch(torch.rand(2, 3, side, side)))
        assert features.tokens.shape == (2, (side // 16) ** 2, encoder.dim)


def test_weights_need_the_stem_that_they_were_made_with(tmp_path):
    donor = timm.create_model("resnet10t", num_classes=1000)
    path = tmp_path / "weights.pt"
    torch.save(donor.state_dict(), path)
    encoder = Timm(ImageModality(size=32), "resnet10t", stem="standard")
    report = load_weights(encoder, path)
    assert torch.equal(encoder.model.layer1[0].conv1.weight, donor.layer1[0].conv1.weight)
    assert report.unexpected == ("model.fc.weight", "model.fc.bias")
    assert not report.missing
    plain = tmp_path / "resnet18.pt"
    torch.save(timm.create_model("resnet18").state_dict(), plain)
    with pytest.raises(RecipeError, match=r"stem for large images\. Set the encoder's stem to standard"):
        load_weights(Timm(ImageModality(size=32), "resnet18"), plain)
    with pytest.raises(RecipeError, match="stem for large images"):
        load_weights(Timm(ImageModality(size=32), "resnet10t"), path)


def test_the_option_checkpoint_is_now_the_weights_of_the_tower():
    registry = load_extensions().registry
    tower = {"views": "simclr", "encoder": {"name": "timm", "model": "resnet18", "checkpoint": "weights.pt"}}
    recipe = {"name": "old", "data": {"source": "openmoji"}, "objective": "simclr", "train": {"steps": 1}}
    with pytest.warns(FutureWarning, match=r"modalities\.image\.weights=weights\.pt"):
        recipe = read_recipe({**recipe, "modalities": {"image": tower}}, registry)
    assert recipe.modalities["image"].weights == "weights.pt"
    assert "checkpoint" not in recipe.modalities["image"].encoder.options


def test_unknown_models_get_a_suggestion():
    with pytest.raises(SensoriumError, match="did you mean 'resnet18'"):
        Timm(ImageModality(size=32), "resnet_18")


def test_the_mean_of_the_model_is_the_default():
    assert Timm(ImageModality(size=32), "resnet10t").normalize.mean.flatten().tolist() == pytest.approx(
        [0.485, 0.456, 0.406]
    )
    given = Timm(ImageModality(size=32), "resnet10t", mean=[0.1, 0.2, 0.3], std=[1.0, 1.0, 1.0])
    assert given.normalize.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
