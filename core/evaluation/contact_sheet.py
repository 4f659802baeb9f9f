"""Contact sheets: queries and their retrieved targets in one image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from sensorium.errors import RunError, SensoriumError
from sensorium.runs.atomic import write_atomically
from sensorium.text_drawing import draw_text, shorten_text, text_width, wrap_text

CELL = 144
MARGIN = 28
GAP = 14
FRAME = 4
HEADING, SMALL = 22, 13
LINES, STEP = 2, 17
"""Lines of a caption, at most, and pixels from each to the next."""
MADE = ("Software", "Sensorium contact sheet")
"""What the file of a contact sheet says of itself."""
PAPER, INK, FAINT, HIT = (255, 255, 255), (32, 33, 36), (128, 132, 138), (24, 150, 84)


class Headings(NamedTuple):
    """What stands above the column of queries, and above what was found."""

    queries: str = "query"
    found: str = "found, best first"


@dataclass(frozen=True)
class RetrievedImage:
    """A retrieved target.

    Args:
        image: its preview.
        caption: a few words below it, such as the cosine: two lines, cut where they are longer.
        is_positive: whether it is a positive of the query, and so framed in green.
    """

    image: Image.Image
    caption: str
    is_positive: bool


def contact_sheet(
    queries: Sequence[Image.Image | None],
    results: Sequence[Sequence[RetrievedImage]],
    title: str,
    captions: Sequence[str] = (),
    headings: Headings = Headings(),
) -> Image.Image:
    """Draw one row for each query: its preview, then the retrieved targets, best first; positives framed in green.

    Args:
        queries: previews of Q queries, of any modality; None continues the row above.
        results: Q lists of retrieved targets, best first.
        title: the heading.
        captions: a few words below each query, two lines; none by default.
        headings: what stands above them.

    Returns:
        An RGB image; its size depends on the number of queries and of results.

    Raises:
        SensoriumError: without a query, or when the lists differ in length.
    """
    if not queries or len(queries) != len(results) or len(captions) not in (0, len(queries)):
        raise SensoriumError(
            f"A contact sheet needs one list of results for each query, not {len(results)} for {len(queries)}."
        )
    most = max(len(retrieved) for retrieved in results)
    top = MARGIN + 60
    told = [*captions, *(target.caption for retrieved in results for target in retrieved)]
    line = CELL + 23 + STEP * max(1, *map(len, map(_lines, ["", *told])))
    x_found = MARGIN + CELL + 3 * GAP
    width = max(x_found + most * (CELL + GAP) - GAP, MARGIN + int(text_width(title, HEADING))) + MARGIN
    sheet = Image.new("RGB", (width, top + len(queries) * line + MARGIN - 12), PAPER)
    draw_text(sheet, (MARGIN, MARGIN - 6), title, HEADING, INK)
    draw_text(sheet, (MARGIN, top - 22), headings.queries, SMALL, FAINT)
    draw_text(sheet, (x_found, top - 22), headings.found, SMALL, FAINT)
    rule = (x_found - 1.5 * GAP, top, x_found - 1.5 * GAP, top + len(queries) * line - 24)
    ImageDraw.Draw(sheet).line(rule, (225, 227, 230))
    for number, (query, retrieved) in enumerate(zip(queries, results, strict=True)):
        y = top + number * line
        if query is not None:
            _cell(sheet, query, MARGIN, y, captions[number] if captions else "", INK)
        for rank, target in enumerate(retrieved):
            x = x_found + rank * (CELL + GAP)
            _cell(sheet, target.image, x, y, target.caption, HIT if target.is_positive else FAINT)
            if target.is_positive:
                box = (x - FRAME, y - FRAME, x + CELL + FRAME - 1, y + CELL + FRAME - 1)
                ImageDraw.Draw(sheet).rounded_rectangle(box, radius=FRAME, outline=HIT, width=FRAME)
    return sheet


def write_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a contact sheet as a PNG that says whose it is."""
    noted = PngInfo()
    noted.add_text(*MADE)
    write_atomically(path, lambda part: sheet.save(part, format="PNG", pnginfo=noted))


def require_own_sheet(path: Path) -> None:
    """Raise an error where a contact sheet would replace, or an earlier one be deleted that is, another's image.

    Raises:
        RunError: when the file is there, and no contact sheet.
    """
    if not os.path.lexists(path):
        return
    try:
        with Image.open(path) as image:
            own = image.info.get(MADE[0]) == MADE[1]
    except (OSError, ValueError, SyntaxError):
        own = False
    if not own:
        raise RunError(f"'{path}' is there already, and no contact sheet of Sensorium's: name another file to write.")


def _cell(sheet: Image.Image, image: Image.Image, x: int, y: int, caption: str, color: tuple[int, int, int]) -> None:
    """Paste an image, its aspect ratio kept, into the middle of a cell, and its caption below."""
    scale = CELL / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # Small images keep their pixels: an 8 x 8 digit is not blurred.
    method = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    ImageDraw.Draw(sheet).rectangle((x - 1, y - 1, x + CELL, y + CELL), (246, 247, 248), outline=(225, 227, 230))
    sheet.paste(image.convert("RGB").resize(size, method), (x + (CELL - size[0]) // 2, y + (CELL - size[1]) // 2))
    for number, text in enumerate(_lines(caption)):
        draw_text(sheet, (x, y + CELL + 7 + STEP * number), text, SMALL, color)


def _lines(caption: str) -> list[str]:
    """Return the lines of a caption, the last of which is cut where there would be more."""
    *whole, last = [*wrap_text(caption, SMALL, CELL), ""][: LINES + 1]
    return whole if not last else [*whole[:-1], shorten_text(f"{whole[-1]} {last}", SMALL, CELL)]
