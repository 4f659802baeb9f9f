"""Pictures that the conformance kit tries the modality's encoders and views on."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

SIZES = ((96, 96), (80, 120), (128, 64), (64, 64))


def images() -> list[bytes]:
    """Return four small drawings in files of several formats, shapes and modes."""
    return [_drawing(i, size) for i, size in enumerate(SIZES)]


def _drawing(number: int, size: tuple[int, int]) -> bytes:
    """Draw a disc on a ground, each drawing with other colors; one is gray, one transparent."""
    mode, format = (("RGB", "PNG"), ("RGB", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"))[number]
    picture = Image.linear_gradient("L").resize(size).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.radial_gradient("L").resize(size))
    disc = (number * 5, number * 9, size[0] // 2, size[1] // 2)
    ImageDraw.Draw(picture).ellipse(disc, fill=("tomato", "gold", "white", "teal")[number])
    file = BytesIO()
    picture.save(file, format)
    return file.getvalue()
