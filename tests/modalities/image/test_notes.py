"""What the image modality says about a source before a training."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sensorium.modalities.image.modality import ImageModality

from .files import png

PHOTO = Image.linear_gradient("L").resize((8, 8)).convert("RGB")


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("fit", "what"),
    [
        ("crop", "cut at the centre, which takes away 50 % of the pixels (fit: crop; pad and stretch keep all)"),
        ("pad", "padded with the background color (fit: pad)"),
        ("stretch", "stretched (fit: stretch)"),
    ],
)
def test_images_that_are_not_square_are_counted(fit, what):
    wide = PHOTO.resize((16, 8))
    raws = [encoded(PHOTO), wide, np.asarray(wide), encoded(wide, "JPEG"), b"no image"]
    assert ImageModality(8, fit=fit).notes(raws) == [f"3 of 4 images are not square: {what}"]
    assert ImageModality([8, 16], fit=fit).notes(raws) == [
        f"1 of 4 images do not have the aspect ratio of 8 x 16: {what}"
    ]
    assert ImageModality(8, fit=fit).notes([PHOTO, encoded(PHOTO)]) == []


def test_orientation_of_exif_counts():
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encoded(PHOTO.resize((16, 8)), "JPEG", exif=exif)
    assert ImageModality([16, 8]).notes([lying]) == []


def test_files_of_several_frames_are_counted():
    animation = encoded(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(90)])
    pages = encoded(PHOTO, "TIFF", save_all=True, append_images=[PHOTO])
    assert ImageModality(8).notes([animation, encoded(PHOTO), pages]) == [
        "2 of 3 files have several pages or frames: the first of each is read"
    ]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_twelve_bits_in_more_are_noted_with_the_range_to_set(dtype):
    dark, bright = (Image.fromarray(np.full((8, 8), most, dtype)) for most in (199, 3071))
    raws = [encoded(dark, "TIFF"), encoded(bright, "TIFF")]
    (note,) = ImageModality(8).notes(raws)
    assert note == (
        "the pixels of 2 images lie between 199 and 3071, at most a sixteenth of the range 0 to 65535, so that images "
        "have hardly any contrast: set range: [0, 4095] (the lowest and highest value of the whole source)"
    )
    assert ImageModality(8, range=(0, 4095)).notes(raws) == []
    (note,) = ImageModality(8, range=(0, 1_000_000)).notes(raws)
    assert note.endswith("set range: [0, 4095] instead of [0, 1000000]")


def test_color_of_sixteen_bits_floats_and_few_bits_in_eight_are_noted_too():
    deep = png(np.random.default_rng(0).integers(0, 4096, (8, 8, 3)).astype(np.uint16))
    for raw, fitting in (
        (deep, "[0, 4095]"),
        (np.full((8, 8), 0.05), "[0.05, 0.05]"),
        (encoded(Image.new("L", (8, 8), 9)), "[0, 15]"),
    ):
        (note,) = ImageModality(8).notes([raw])
        assert f"set range: {fitting}" in note
    assert ImageModality(8).notes([PHOTO, np.eye(8), np.eye(8, dtype=bool), Image.new("1", (8, 8), 1)]) == []
