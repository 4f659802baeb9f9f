"""Sample images, on which the conformance kit checks the modality, its encoders and its views."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

SIZES = ((96, 96), (80, 120), (128, 64), (64, 64))


def sample_images() -> list[bytes]:
    """Return four small drawings in files of several formats, shapes and modes."""
    return [_drawing(i, size) for i, size in enumerate(SIZES)]


def _drawing(number: int, size: tuple[int, int]) -> bytes:
    """Draw an ellipse on a gradient, in different colors; one image is grayscale, one transparent."""
    mode, format = (("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"))[number]
    image = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.radial_gradient("L").resize(size))
    box = (number * 5, number * 9, size[0] // 2, size[1] // 2)
    ImageDraw.Draw(image).ellipse(box, fill=("tomato", "gold", "white", "teal")[number])
    file = BytesIO()
    image.save(file, format)
    return file.getvalue()
