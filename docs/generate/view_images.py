"""Draws the images of the modality pages: a few bundled records, and what each view generator makes of them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from docs.generate import distributions, gallery_page
from sensorium.contracts import Modality, Source, ViewGenerator
from sensorium.errors import BadSample
from sensorium.modalities.image.modality import ImageModality
from sensorium.models.learner import make_views
from sensorium.models.makers import maker
from sensorium.recipe.parts import Part
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.registration.registry import Spec
from sensorium.text_drawing import draw_text
from sensorium.training.gallery import HEADING, MARGIN, TITLE, draw_gallery
from sensorium.types import RecordBatch

WORDS = tomllib.loads((Path(__file__).parent / "modalities.toml").read_text(encoding="utf-8"))
IMAGES = Path(__file__).parents[1] / "assets" / "views"
COLORS, MASKED, SEED = 64, (170, 170, 170), 3
"""Colors of an image's palette, which keeps files small; that of masked tokens; what views are drawn from."""


def draw_all() -> None:
    """Draw an image of every view generator of every modality that has a sample."""
    extensions = load_extensions({}, [])
    registry = extensions.registry
    for name, words in WORDS.items():
        modality, raws = _sample(extensions, name, words["sample"])
        for spec in registry.specs("views"):
            if spec.modality != name:
                continue
            options = words.get("views", {}).get(spec.name, {})
            generator = maker(registry, "views", Part(name=spec.name, **options), spec.name, name, modality)()
            path = path_of(spec)
            path.parent.mkdir(parents=True, exist_ok=True)
            records = _records(name, modality, generator, raws)
            sheet = draw_gallery(records, {name: modality}, {name: generator}, _rng(), len(raws))
            if words["sample"].get("tokens_are_square"):
                (views,) = make_views(records, {name: generator}, _rng()).values()
                _shade(sheet, [view.info.get("masked") for view in views], modality.preview_cell)
            _save(sheet, path)
    draw_fits(extensions)
    draw_distributions()


def draw_distributions() -> None:
    """Draw the views of the gallery's page."""
    for one in distributions.distributions():
        words, registry = gallery_page.WORDS[one.name], distributions.extensions().registry
        (spec,) = (spec for spec in registry.specs("modalities") if spec.plugin == one.name)
        modality, raws = _sample(distributions.extensions(), spec.name, words)
        generator = maker(registry, "views", Part(**words["views"]), "views", spec.name, modality)()
        records = _records(spec.name, modality, generator, raws)
        path = gallery_page.image_path(one)
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(draw_gallery(records, {spec.name: modality}, {spec.name: generator}, _rng(), len(raws)), path)


def draw_fits(extensions: Extensions) -> None:
    """Draw what each `fit` of the image modality makes of a wide image and a tall one."""
    modality, raws = _sample(extensions, "image", WORDS["image"]["sample"])
    cell = modality.preview_cell
    wide, tall = (Image.new("RGB", size, "lightgray") for size in ((288, 144), (144, 288)))
    for number, raw in enumerate(raws[:2]):
        emoji = modality.preview(modality.decode(raw)).resize((144, 144))
        wide.paste(emoji, (144 * number, 0))
        tall.paste(emoji, (0, 144 * number))
    fits = ("crop", "pad", "stretch")
    sheet = Image.new("RGB", (MARGIN + 4 * (cell + MARGIN), HEADING + 2 * (cell + MARGIN)), "white")
    for column, title in enumerate(("image", *(f"fit: {fit}" for fit in fits))):
        draw_text(sheet, (MARGIN + column * (cell + MARGIN), MARGIN // 2), title, TITLE)
    for row, original in enumerate((wide, tall)):
        decoded = [ImageModality(cell, background="#dfe8ff", fit=fit) for fit in fits]
        shown = original.copy()
        shown.thumbnail((cell, cell))
        for column, image in enumerate((shown, *(fit.preview(fit.decode(original)) for fit in decoded))):
            sheet.paste(image, (MARGIN + column * (cell + MARGIN), HEADING + row * (cell + MARGIN)))
    _save(sheet, IMAGES.parent / "image-fit.png")


def _save(sheet: Image.Image, path: Path) -> None:
    sheet.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


def path_of(spec: Spec) -> Path:
    """Return where the image of a view generator is."""
    return IMAGES / str(spec.modality) / f"{spec.name}.png"


def _sample(extensions: Extensions, name: str, sample: dict[str, Any]) -> tuple[Modality, list[Any]]:
    """Return the modality, fitted to all records, and the raw values that are drawn.

    Records are those of a source, or the values on which the conformance kit tries the modality.
    """
    registry = extensions.registry
    modality = maker(registry, "modalities", Part(**{"name": name, **sample["modality"]}), "modality")()
    if "source" in sample:
        raws = _Field(maker(registry, "sources", Part(**sample["source"]), "source")(), name)
    else:
        raws = extensions.declared("sensorium_samples")[name]
    if not modality.is_fitted:
        modality.fit(raw for raw in raws if raw is not None)
    return modality, [raws[row] for row in sample["rows"]]


class _Field(Sequence[Any]):
    """The values of a source's field that a modality is named after, or of its first; None where there is none."""

    def __init__(self, source: Source, name: str) -> None:
        self.source, self.field = source, name if name in source.fields else source.fields[0]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: Any) -> Any:
        if row >= len(self):
            raise IndexError(row)
        try:
            return self.source[row].values.get(self.field)
        except BadSample:
            return None


def _records(name: str, modality: Modality, generator: ViewGenerator, raws: list[Any]) -> RecordBatch:
    staged = [generator.stage(modality.decode(raw), torch.Generator().manual_seed(i)) for i, raw in enumerate(raws)]
    keys = {"record": torch.arange(len(raws))}
    return RecordBatch([str(i) for i in range(len(raws))], {name: modality.collate(staged)}, {name: None}, keys)


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _shade(sheet: Image.Image, masks: list[Tensor | None], cell: int) -> None:
    """Draw the masked tokens of each view gray, of a square grid."""
    draw, step = ImageDraw.Draw(sheet), cell + MARGIN
    for column, mask_BT in enumerate(masks, start=1):
        for row, mask_T in enumerate([] if mask_BT is None else mask_BT.tolist()):
            across = round(len(mask_T) ** 0.5)
            width = height = cell / across
            for token, masked in enumerate(mask_T):
                if masked:
                    x = MARGIN + column * step + token % across * width
                    y = HEADING + row * step + token // across * height
                    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=MASKED)
