"""A run that an estimator keeps: as the files of its folder, which can be pickled, opened when it is asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sensorium.api.models import load, load_predictor
from sensorium.finetuning.predictor import Predictor
from sensorium.models.model import Model
from sensorium.runs.run import Run


class KeptRun:
    """The files of a run from which its model is opened.

    Args:
        folder: of the run.
        device: where the model is opened, as in `sensorium.load`.
    """

    def __init__(self, folder: Path, device: str) -> None:
        run = Run.open(folder)
        needed = [run.recipe_file, run.status_file, *(path for path in run.model.rglob("*") if path.is_file())]
        self.files = {str(path.relative_to(folder)): path.read_bytes() for path in needed}
        self.device = device

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "device": self.device}

    @cached_property
    def model(self) -> Model:
        """The model."""
        with TemporaryDirectory() as folder:
            return load(self.write(Path(folder)), device=self.device)

    @cached_property
    def predictor(self) -> Predictor:
        """The model with its fine-tuned head."""
        with TemporaryDirectory() as folder:
            return load_predictor(self.write(Path(folder)), device=self.device)

    def write(self, folder: Path) -> Path:
        """Write the files into a folder, and return it."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder
