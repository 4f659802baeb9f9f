"""Writing an export whole: its files, verified, and the model card beside them; or nothing."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from sensorium.errors import RunError
from sensorium.exporters.base import Exporter
from sensorium.exporters.card import CARD, model_card
from sensorium.models.model import Model
from sensorium.registration.registry import Registry
from sensorium.runs.atomic import give_usual_rights, write_text

log = logging.getLogger("sensorium")


def write_export(exporter: Exporter, model: Model, folder: Path, registry: Registry) -> str:
    """Write the files of an exporter into a folder, verify them, and write the model card; returns what loads them.

    Args:
        exporter: of a format.
        model: of a run.
        folder: where, new or empty.
        registry: what is registered.

    Raises:
        RunError: when the folder is not empty.
        SensoriumError: when the model cannot be written so, or what was written computes something else; the folder is
            then as it was.
    """
    was_there = folder.exists()
    if was_there and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} exists and is not an empty folder: choose another.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lines = exporter.export(model, folder)
        verified = exporter.verify(model, folder)
        if verified is not None:
            log.info("%s", verified)
        if model.run is not None:
            checks = verified.sentences() if verified else ()
            card = model_card(model.run, registry, library=exporter.library, loading=lines, checks=checks)
            write_text(folder / CARD, card)
        give_usual_rights(folder)
    except BaseException:
        for path in folder.iterdir():  # the folder itself may be a link, or a mount
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if not was_there:
            folder.rmdir()
        raise
    return lines
