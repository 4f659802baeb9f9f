"""What a plugin writes to save what a run learned in another format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from sensorium.models.model import Model


class Exporter(ABC):
    """Writes what a run learned as files that others read.

    Its keyword arguments are options of `sensorium export RUN OUT --format NAME key=value`.
    """

    @abstractmethod
    def export(self, model: Model, folder: Path) -> str:
        """Write into an empty folder; returns the lines of Python that load what was written.

        Args:
            model: its `learner` has encoders, by modality, and the objective; its `plan` the recipe and modalities.
            folder: where.
        """
