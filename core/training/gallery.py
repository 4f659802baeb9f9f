"""A picture of the views of a batch: what the objective really sees, before anybody trains on it for a day."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from PIL import Image, ImageDraw, ImageFont

from sensorium.contracts import Modality, ViewGenerator
from sensorium.models.learner import make_views
from sensorium.types import RecordBatch

CELL, MARGIN, HEADING = 128, 8, 24


def draw_gallery(
    records: RecordBatch,
    modalities: Mapping[str, Modality],
    generators: Mapping[str, ViewGenerator],
    rng: torch.Generator,
    count: int,
) -> Image.Image:
    """Return a picture with one row a record: its decoded value and its views, modality after modality.

    Modalities without previews are left out.
    """
    columns: list[tuple[str, dict[int, Image.Image]]] = []
    views = make_views(records, dict(generators), rng)
    for name, modality in modalities.items():
        if name not in records.batches or not modality.has_preview:
            continue
        shown = records.present[name].nonzero().flatten()[:count].tolist()
        batches = [records.batches[name], *(view.batch for view in views[name])]
        titles = [name, *(f"view {i + 1}" for i in range(len(views[name])))]
        for title, batch in zip(titles, batches, strict=True):
            head = batch.to("cpu").select(torch.arange(min(len(shown), len(batch))))
            pictures = [modality.preview(example) for example in modality.examples(head)]
            columns.append((title, dict(zip(shown, pictures, strict=False))))
    rows = min(count, len(records))
    step = CELL + MARGIN
    sheet = Image.new("RGB", (MARGIN + step * len(columns), HEADING + MARGIN + step * rows), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for x, (title, column) in enumerate(columns):
        draw.text((MARGIN + x * step, MARGIN // 2), title, fill="black", font=font)
        for row, picture in column.items():
            if row < rows:
                sheet.paste(_fitted(picture), (MARGIN + x * step, HEADING + row * step))
    return sheet


def _fitted(picture: Image.Image) -> Image.Image:
    scale = CELL / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
