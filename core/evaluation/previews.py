"""Previews of records' values: images, or the value in words where a modality draws none."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sensorium.contracts import Source
from sensorium.data.decoding import RecordDecoder
from sensorium.data.summary import summarize
from sensorium.models.plan import Plan
from sensorium.text_drawing import text_image


class Previews:
    """Draws the values of records.

    Args:
        plan: the parts of a run's recipe; its modalities are fitted.
        source: where the records come from.
    """

    def __init__(self, plan: Plan, source: Source) -> None:
        self.plan, self.source = plan, source

    def __call__(self, position: int, modality: str) -> Image.Image:
        """Return the preview of a record's value of a modality, by the record's position in the source."""
        if not self.plan.modalities[modality].has_preview:
            return text_image(self.words(position, modality))
        fields = {modality: self.plan.fields[modality]}
        decoder = RecordDecoder(self.source, fields, self.plan.modalities, all_values=True)
        decoded = decoder[0, np.array([position])]
        assert decoded.records is not None, "it was decoded before"
        part = self.plan.modalities[modality]
        return part.preview(part.examples(decoded.records.batches[modality])[0])

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
