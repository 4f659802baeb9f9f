"""The image modality: batches, previews, baseline features."""

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium import SensoriumError
from sensorium.modalities.image.batch import CropBatch, ImageBatch
from sensorium.modalities.image.modality import ImageModality


def image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (channels, height, width), dtype=np.uint8)


def test_collate_resizes_every_example():
    modality = ImageModality(size=[8, 12], canvas=16)
    batch = modality.collate([image(16, 30), image(40, 16), image(8, 12)])
    assert batch.pixels.shape == (3, 3, 8, 12)
    assert batch.pixels.dtype == torch.uint8
    np.testing.assert_array_equal(batch.pixels[2], image(8, 12))


def test_collate_stacks_staged_crops():
    crops = [CropBatch(torch.full((1, 2, 3, 8, 8), i, dtype=torch.uint8)) for i in range(3)]
    batch = ImageModality(size=8, canvas=16).collate(crops)
    assert batch.global_crops.shape == (3, 2, 3, 8, 8)
    assert batch.global_crops[:, 0, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_previews_are_small_rgb_images(channels):
    modality = ImageModality(size=300, channels=channels)
    batch = modality.collate([image(300, 300, channels)])
    for example in (image(300, 300, channels), *modality.examples(batch)):
        preview = modality.preview(example)
        assert preview.mode == "RGB"
        assert max(preview.size) <= 256


def test_examples_of_float_views_are_rounded_back():
    modality = ImageModality(size=8)
    pixels = torch.from_numpy(image(8, 8))[None]
    view = ImageBatch(pixels.float() / 255)
    np.testing.assert_array_equal(modality.examples(view)[0], pixels[0])
    assert modality.examples(ImageBatch(view.pixels.bfloat16()))[0].dtype == np.uint8


def test_baseline_features_are_averaged_pixels():
    modality = ImageModality(size=8)
    pixels = torch.from_numpy(image(8, 8))[None]
    np.testing.assert_allclose(modality.baseline_features(ImageBatch(pixels)), pixels.flatten(1) / 255, atol=1e-6)
    pixels = torch.from_numpy(image(64, 64))[None]
    large = ImageModality(size=64).baseline_features(ImageBatch(pixels))
    averages = pixels.float().view(1, 3, 16, 4, 16, 4).mean((3, 5)) / 255
    np.testing.assert_allclose(large, averages.flatten(1), atol=1e-6)
    assert large.dtype == np.float32
    assert modality.baseline_description == "pixels averaged to at most 16 x 16"


@pytest.mark.parametrize(
    "options",
    [
        *({"size": 0}, {"size": [8]}, {"channels": 0}, {"background": "nocolor"}, {"size": 64, "canvas": 32}),
        *({"range": (4095, 0)}, {"range": (0, float("inf"))}, {"max_pixels": 0}),
    ],
)
def test_invalid_options_are_refused(options):
    with pytest.raises(SensoriumError):
        ImageModality(**options)


def test_a_canvas_keeps_the_whole_image_and_never_enlarges():
    modality = ImageModality(size=8, canvas=16)
    assert modality.decode(Image.new("RGB", (64, 32))).shape == (3, 16, 32)
    assert modality.decode(Image.new("RGB", (12, 10))).shape == (3, 10, 12)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("canvas", [None, 16])
def test_every_fit_gives_batches_of_the_size(fit, canvas):
    modality = ImageModality(size=[8, 12], canvas=canvas, fit=fit, background="#0000ff")
    red = [Image.new("RGB", size, "red") for size in ((30, 20), (60, 20), (20, 60))]
    batch = modality.collate([modality.decode(image) for image in red])
    assert batch.pixels.shape == (3, 3, 8, 12)
    whole, wide, tall = (np.asarray(pixels)[[0, 2]] for pixels in batch.pixels)  # red and blue
    assert (whole[0] == 255).all()
    assert (wide[0, 3:5] == 255).all()
    assert (tall[0, :, 5:7] > 200).all()  # a canvas is resized twice
    for border in (wide[:, 0], tall[:, :, 0]):
        assert border.mean(-1).round().tolist() == ([0, 255] if fit == "pad" else [255, 0])


def test_views_crop_from_the_padded_canvas():
    modality = ImageModality(size=8, canvas=16, fit="pad", background="black")
    assert modality.decode(Image.new("RGB", (64, 32))).shape == (3, 16, 16)
    assert modality.decode(Image.new("RGB", (12, 10))).shape == (3, 12, 12)


@pytest.mark.parametrize("channels", [1, 5])
def test_borders_of_other_channels_are_gray(channels):
    modality = ImageModality(size=8, channels=channels, fit="pad", background="red")
    assert (modality.decode(image(4, 8, channels))[:, 0] == 76).all()


def test_captions_are_paths():
    modality = ImageModality(size=8)
    assert modality.caption("a.png") == modality.caption({"bytes": b"...", "path": "a.png"}) == "a.png"
    assert modality.caption(b"...") is modality.caption({"bytes": b"...", "path": None}) is None


def test_batches_move_select_and_join():
    batch = ImageBatch(torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).view(4, 3, 2, 2))
    assert len(batch) == 4
    assert torch.equal(ImageBatch.cat([batch.select(torch.tensor([i])) for i in range(4)]).pixels, batch.pixels)
    assert batch.unit_pixels().max() <= 1
    assert batch.pixels.dtype == torch.uint8
