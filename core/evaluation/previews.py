"""Previews of records' values, by their position in the source."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sensorium.contracts import Source
from sensorium.data.decoding import RecordDecoder
from sensorium.models.plan import Plan


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
        decoder = RecordDecoder(self.source, {modality: self.plan.fields[modality]}, self.plan.modalities)
        decoded = decoder[0, np.array([position])]
        assert decoded.records is not None, "it was decoded before"
        part = self.plan.modalities[modality]
        return part.preview(part.examples(decoded.records.batches[modality])[0])
