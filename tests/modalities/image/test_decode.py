"""Raw values of every kind, valid and corrupt."""

from functools import partial
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sensorium import BadSample
from sensorium.modalities.image.modality import ImageModality

from .files import png, tiff

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(raw, size=8, **options) -> np.ndarray:
    example = ImageModality(size=size, **options).decode(raw)
    assert example.dtype == np.uint8
    assert example.shape == (options.get("channels", 3), size, size)
    return example


def color_of(example: np.ndarray) -> tuple[int, ...]:
    return tuple(int(c) for c in np.median(example.reshape(len(example), -1), axis=1))


@pytest.fixture
def gradient() -> Image.Image:
    gradient_values = np.linspace(0, 255, 24, dtype=np.uint8)
    return Image.fromarray(
        np.stack(np.broadcast_arrays(gradient_values[:, None], gradient_values[None, :], 128), axis=-1).astype(np.uint8)
    )


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
)
def test_every_mode_of_pillow_decodes_to_uint8_rgb(mode):
    if mode in ("I", "I;16"):
        image = Image.fromarray(np.full((9, 7), 65535, np.uint16 if mode == "I;16" else np.int32))
    elif mode == "F":
        image = Image.fromarray(np.ones((9, 7), np.float32))
    elif mode == "LAB":
        image = Image.new("LAB", (9, 7), (255, 128, 128))
    elif mode == "PA":
        image = Image.new("RGBA", (9, 7), (*WHITE, 255)).convert("PA")
    elif mode == "HSV":
        image = Image.new("HSV", (9, 7), (0, 0, 255))
    else:
        image = Image.new("RGB", (9, 7), WHITE).convert(mode)
    assert min(color_of(decode(image))) >= 254


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000"])
def test_files_of_many_formats_are_read(format, gradient):
    expected = decode(gradient)
    np.testing.assert_allclose(decode(encoded(gradient, format)).astype(int), expected.astype(int), atol=30)


def test_paths_bytes_and_mappings_give_the_same_image(tmp_path, gradient):
    data, path = encoded(gradient), tmp_path / "an image.png"
    path.write_bytes(data)
    for raw in (
        path,
        str(path),
        data,
        bytearray(data),
        {"bytes": data, "path": None},
        {"bytes": None, "path": str(path)},
    ):
        np.testing.assert_array_equal(decode(raw), decode(gradient))


def test_orientation_of_exif_is_applied():
    image = Image.new("RGB", (16, 8), WHITE)
    image.paste(RED, (0, 0, 8, 8))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    example = decode(encoded(image, "JPEG", exif=exif, quality=95))
    assert color_of(example[:, :3])[1] < 60  # red on top
    assert color_of(example[:, 5:])[1] > 200


@pytest.mark.parametrize("background", ["white", "#102030"])
def test_alpha_shows_the_background(background):
    clear = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    expected = WHITE if background == "white" else (16, 32, 48)
    assert color_of(decode(clear, background=background)) == expected
    assert color_of(decode(np.asarray(clear), background=background)) == expected


def test_transparent_palette_shows_the_background():
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, *RED])
    assert color_of(decode(encoded(image, "PNG", transparency=1))) == WHITE
    assert color_of(decode(encoded(image, "PNG"))) == RED


def test_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (6, 6), color) for color in (RED, WHITE)]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert color_of(decode(raw)) == RED


def test_sixteen_bits_are_scaled_not_cut():
    deep = np.full((5, 5), 257 * 100, np.uint16)
    assert color_of(decode(deep)) == (100, 100, 100)
    assert color_of(decode(encoded(Image.fromarray(deep)))) == (100, 100, 100)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(
    "file",
    [png, tiff, partial(tiff, order=">"), partial(tiff, deflate=True), partial(tiff, order=">", deflate=True)],
    ids=["png", "tiff", "big-endian", "deflate", "big-endian-deflate"],
)
def test_color_files_of_sixteen_bits_are_read_whole(file, channels):
    deep = np.random.default_rng(0).integers(0, 4096, (8, 8, channels)).astype(np.uint16)
    deep[..., 3:] = 65535
    expected = np.rint(deep[..., :3] / 4095 * 255).transpose(2, 0, 1)
    np.testing.assert_allclose(decode(file(deep), range=(0, 4095)), expected, atol=1)


def test_gray_and_alpha_of_sixteen_bits_are_read_whole():
    deep = np.zeros((8, 8, 2), np.uint16)
    deep[:, 4:] = (2048, 65535)  # gray at half of 12 bits; the left half is transparent
    example = decode(png(deep), range=(0, 4095))
    assert color_of(example[:, :, 4:]) == (128, 128, 128)
    assert color_of(example[:, :, :4]) == WHITE


def test_sixteen_bits_are_turned_upright():
    deep = np.zeros((8, 16, 3), np.uint16)
    deep[:, :8] = 60000
    example = decode(tiff(deep, orientation=6))  # to be turned clockwise by a quarter
    assert example[:, :3].min() > 200
    assert example[:, 5:].max() < 60


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_one_range_holds_for_all_files_of_a_source(dtype, tmp_path):
    values = {}
    for name, most in (("dark", 199), ("bright", 3071)):
        pixels = np.full((8, 8), most, dtype)
        if dtype is np.float32:
            pixels /= 10_000
        Image.fromarray(pixels).save(tmp_path / f"{name}.tif")
        values[name] = [
            color_of(decode(tmp_path / f"{name}.tif", range=range))[0]
            for range in (None, (0, 0.4095) if dtype is np.float32 else (0, 4095))
        ]
    assert values["bright"] == ([78, 191] if dtype is np.float32 else [12, 191])
    assert values["dark"] == ([5, 12] if dtype is np.float32 else [1, 12])


def test_a_range_clips_and_may_be_negative():
    window = np.array([[-2000, -1000, -300, 400, 3000]] * 5, np.int16)
    gray = decode(window, size=5, range=(-1000, 400))[0, 0]
    assert gray.tolist() == [0, 0, 128, 255, 255]


def test_a_range_leaves_images_of_eight_bits_alone_unless_it_lies_within_them():
    gray = np.full((8, 8), 15, np.uint8)
    for raw in (gray, Image.fromarray(gray), encoded(Image.fromarray(gray))):
        assert color_of(decode(raw, range=(0, 4095))) == (15, 15, 15)
        assert color_of(decode(raw, range=(0, 15))) == WHITE


def test_alpha_is_not_scaled_by_the_range():
    half = np.full((8, 8, 4), 4095, np.uint16)
    half[..., 3] = 65535 // 2
    assert color_of(decode(half, range=(0, 4095), background="black")) == (127, 127, 127)


def test_four_channels_have_no_alpha():
    deep = np.random.default_rng(0).integers(0, 4096, (4, 8, 8)).astype(np.uint16)
    example = decode(deep, channels=4, range=(0, 4095))
    np.testing.assert_array_equal(example, np.rint(deep / 4095 * 255))


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (10, 20000), (3, 2)])
def test_extreme_shapes_are_read(size):
    assert color_of(decode(encoded(Image.new("RGB", size, RED)))) == RED


def test_arrays_of_any_layout_agree():
    color = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = color.transpose(2, 0, 1)
    for array in (color, expected, color.astype(np.int64), color.astype(np.uint16) * 257, color / 255.0):
        np.testing.assert_array_equal(decode(array), expected)
    gray = color[..., 0]
    for array in (gray, gray[None], gray[..., None]):
        np.testing.assert_array_equal(decode(array), np.stack([gray] * 3))
    assert decode(np.ones((8, 8), bool)).min() == 255


def test_arrays_and_pil_images_convert_to_grayscale_alike():
    color = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    one, other = decode(color, channels=1), decode(Image.fromarray(color), channels=1)
    np.testing.assert_allclose(one.astype(int), other.astype(int), atol=1)


def test_many_channels_come_from_arrays_alone(gradient):
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 5), dtype=np.uint8)
    np.testing.assert_array_equal(decode(array, channels=5), array.transpose(2, 0, 1))
    with pytest.raises(BadSample, match="reads 5"):
        decode(encoded(gradient), channels=5)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b"not an image", "no known format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "cannot be read"),
        (7, "not int"),
        (None, "not NoneType"),
        ({"bytes": None, "path": None}, "not NoneType"),
        ("", "no file"),
        (np.zeros((0, 4, 3), np.uint8), "empty"),
        (np.zeros((9, 9, 2), np.uint8), "no channel axis"),
        (np.zeros((3, 9, 3), np.uint8), "first or last"),
        (np.zeros((2, 4, 4, 3), np.uint8), "is not an image"),
        (np.full((4, 4), 16.0), "must lie in"),
        (np.full((4, 4), np.nan), "must lie in"),
        (np.full((4, 4), -1), "must lie in"),
        (np.full((4, 4), 3071, np.int32), "must lie in 0 to 255, but range from 3071 to 3071: set .* range"),
        (Image.fromarray(np.full((4, 4), 70_000, np.int32)), "must lie in 0 to 65535"),
        (np.array([["a", "b"]]), "is not an image"),
    ],
)
def test_invalid_values_raise_bad_samples_with_a_reason(raw, reason):
    with pytest.raises(BadSample, match=reason):
        decode(raw)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF"])
def test_truncated_files_are_bad_samples(format):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, format)
    with pytest.raises(BadSample):
        decode(data[: len(data) // 2])


def test_truncated_files_of_sixteen_bits_are_bad_samples():
    deep = np.random.default_rng(0).integers(0, 65536, (64, 64, 3)).astype(np.uint16)
    for data in (png(deep), tiff(deep), tiff(deep, deflate=True)):
        with pytest.raises(BadSample):
            decode(data[: len(data) // 2])


def test_pixels_that_are_no_numbers_are_bad_samples_with_a_range_too():
    with pytest.raises(BadSample, match="not finite"):
        decode(np.full((4, 4), np.nan), range=(0, 1))


def test_corrupt_files_are_named(tmp_path):
    missing, empty, wrong = tmp_path / "none.png", tmp_path / "empty.png", tmp_path / "text.png"
    empty.write_bytes(b"")
    wrong.write_text("hello")
    for path, reason in ((missing, "no file"), (empty, "empty"), (wrong, "no known format"), (tmp_path, "no file")):
        with pytest.raises(BadSample, match=reason) as caught:
            decode(path)
        assert str(path) in str(caught.value)


def test_decompression_bombs_are_bad_samples_that_name_their_option():
    bomb = encoded(Image.new("1", (200, 150)))
    with pytest.raises(BadSample, match=r"200 x 150 = 30,000 pixels, more than max_pixels = 29,999"):
        decode(bomb, max_pixels=29_999)
    assert color_of(decode(bomb, max_pixels=30_000)) == (0, 0, 0)


def test_pillows_own_limit_neither_stops_nor_warns_and_is_kept(monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    decode(encoded(Image.new("RGB", (20, 8), RED)))  # Pillow would warn
    decode(encoded(Image.new("RGB", (200, 200), RED)))  # and raise here
    assert not recwarn.list
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_large_jpeg_is_decoded_at_reduced_scale():
    image = Image.new("RGB", (800, 640), RED)
    example = ImageModality(size=32, canvas=64).decode(encoded(image, "JPEG"))
    assert example.shape == (3, 64, 80)
    opened = Image.open(BytesIO(encoded(image, "JPEG")))
    opened.draft(None, (64, 64))
    assert opened.size[0] < 800
