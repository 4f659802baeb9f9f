"""The view gallery: an image of the views of the first batch, to check augmentations before a long training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from sensorium.contracts import Modality, ViewGenerator
from sensorium.models.learner import make_views
from sensorium.text_drawing import draw_text
from sensorium.types import RecordBatch, View

MARGIN, HEADING, TITLE = 8, 24, 13


def draw_gallery(
    records: RecordBatch,
    modalities: Mapping[str, Modality],
    generators: Mapping[str, ViewGenerator],
    rng: torch.Generator,
    count: int,
) -> Image.Image:
    """Return an image with one row per record: its decoded value and its views, modality by modality.

    Modalities without previews are left out.
    """
    columns: list[tuple[str, int, dict[int, Image.Image]]] = []
    views = make_views(records, dict(generators), rng)
    for name, modality in modalities.items():
        if name not in records.batches or not modality.has_preview:
            continue
        present = records.present[name]
        rows_of = (range(len(records)) if present is None else np.flatnonzero(present).tolist())[:count]
        batch, *made = (_first(view, len(rows_of)) for view in (View(records.batches[name]), *views[name]))
        originals = [modality.preview(example) for example in modality.examples(batch.batch)]
        for number, previews in enumerate([originals, *modality.preview_views(batch.batch, made)]):
            title = f"view {number}" if number else name
            columns.append((title, modality.preview_cell, dict(zip(rows_of, previews, strict=False))))
    rows = min(count, len(records))
    height = max((cell for _, cell, _ in columns), default=0) + MARGIN
    width = MARGIN + sum(cell + MARGIN for _, cell, _ in columns)
    sheet = Image.new("RGB", (width, HEADING + MARGIN + height * rows), "white")
    left = MARGIN
    for title, cell, column in columns:
        draw_text(sheet, (left, MARGIN // 2), title, TITLE)
        for row, image in column.items():
            if row < rows:
                sheet.paste(_fitted(image, cell), (left, HEADING + row * height))
        left += cell + MARGIN
    return sheet


def _first(view: View, count: int) -> View:
    """Return the first rows of a view, on the CPU."""
    rows = torch.arange(min(count, len(view)))
    target = None if view.target is None else view.target[: len(rows)].cpu()
    info = {name: tensor[: len(rows)].cpu() for name, tensor in view.info.items()}
    return replace(view, batch=view.batch.to("cpu").select(rows), target=target, info=info)


def _fitted(image: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.convert("RGB").resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
