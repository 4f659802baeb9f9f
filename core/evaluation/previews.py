"""Previews of records' values: images and sounds, or the value in words where a modality draws none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from PIL import Image

from sensorium.contracts import Modality, Source
from sensorium.data.decoding import RecordDecoder
from sensorium.data.summary import summarize
from sensorium.errors import DataError
from sensorium.evaluation.shown import Shown
from sensorium.text_drawing import text_image
from sensorium.types import Batch


class DecodedValues(Protocol):
    """What knows how values are decoded: the parts of a run's recipe, or what `check` checks."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Modality name -> the source's field with its raw values."""

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """Modality name -> the modality, fitted."""


class Previews:
    """Draws the values of records.

    Args:
        plan: the parts of a run's recipe, or anything else that knows fields and modalities; these are fitted.
        source: where the records come from.
    """

    def __init__(self, plan: DecodedValues, source: Source) -> None:
        self.plan, self.source = plan, source

    def __call__(self, position: int, modality: str) -> Image.Image:
        """Return the preview of a record's value of a modality, by the record's position in the source."""
        part = self.plan.modalities[modality]
        if not part.has_preview:
            return text_image(self.words(position, modality))
        return part.preview(self._example(position, modality))

    def words(self, position: int, modality: str) -> str:
        """Return a record's value of a modality in words: its caption, its file's path, or else the record's id."""
        summary = summarize(self.source, position, self.plan.fields, self.plan.modalities)
        named = summary.captions.get(modality) or summary.paths.get(modality)
        return named or self.source.key(position).id

    def of_query(self, example: object, modality: str, words: str) -> Image.Image:
        """Return the preview of a decoded value of no record; its words where the modality draws none."""
        part = self.plan.modalities[modality]
        if not part.has_preview:
            return text_image(words)
        return part.preview(part.examples(part.collate([example]))[0])

    def shown(self, position: int, modality: str) -> Shown:
        """Return what a page shows of a record's value of a modality: words, an image, a sound.

        Raises:
            DataError: when the record has none that can be decoded.
        """
        batch, words, part = (
            self._batch(position, modality),
            self.words(position, modality),
            self.plan.modalities[modality],
        )
        if not part.has_preview or part.preview_is_caption:
            return Shown(words)
        example = part.examples(batch)[0]
        return Shown(words, part.preview(example), part.sound(example))

    def shown_query(self, example: object, modality: str, words: str) -> Shown:
        """Return what a page shows of a decoded value of no record."""
        part = self.plan.modalities[modality]
        if not part.has_preview or part.preview_is_caption:
            return Shown(words)
        row = part.examples(part.collate([example]))[0]
        return Shown(words, part.preview(row), part.sound(row))

    def _example(self, position: int, modality: str) -> Any:
        """Return a record's value of a modality as previews draw it; the first, where it has several."""
        return self.plan.modalities[modality].examples(self._batch(position, modality))[0]

    def _batch(self, position: int, modality: str) -> Batch:
        """Return a record's values of a modality, decoded."""
        fields = {modality: self.plan.fields[modality]}
        decoder = RecordDecoder(self.source, fields, self.plan.modalities, all_values=True)
        decoded = decoder[0, np.array([position])]
        if decoded.records is None:
            raise DataError(f"The record '{self.source.key(position).id}' has no '{modality}' that can be decoded.")
        return decoded.records.batches[modality]
