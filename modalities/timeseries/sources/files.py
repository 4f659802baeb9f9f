"""Files of whole series as a source."""

from __future__ import annotations

import os
from pathlib import Path

from sensorium.errors import DataError
from sensorium.modalities.timeseries.sources.formats import FORMATS, read
from sensorium.modalities.timeseries.sources.recordings import LabelAt, Recording, RecordingSource, SlidingWindow


class SeriesFiles(RecordingSource):
    """Time series out of .ts (sktime and aeon), .tsv (UCR), .arff (Weka) and .npz files.

    A file whose name ends in _TRAIN, _VAL or _TEST holds that split, as in the UCR and UEA archives. Records are named
    "file/row" and carry the label "class", or "target" where it is a number. An .npz file holds "x" (N, C, T) or
    (N, T), and may hold "y" (N,), classes or floating-point targets, "lengths" (N,), and "channels" (C,), their names.

    Args:
        path: the file, or a list of files.
        window: time steps in a record; None keeps series whole. A shorter series is one shorter record.
        stride: steps from one window to the next; None is `window`, so that windows do not overlap.
        by_time: fractions of each series' time, at its end, that are val and test; None splits by whole series.
        gap: steps between two parts in time that belong to neither; None is one window.
        ahead: steps after a window whose values are its labels "ahead 1", "ahead 2", ..., for the evaluator 'forecast'.
        label_at: a window's label, where steps have their own: the "most" frequent one, or that of the "last" step.
        field: the field of the time series.
    """

    extensions = tuple(FORMATS)

    def __init__(
        self,
        path: str | list[str],
        window: int | None = None,
        stride: int | None = None,
        by_time: tuple[float, float] | None = None,
        gap: int | None = None,
        ahead: int = 0,
        label_at: LabelAt = "most",
        field: str = "timeseries",
    ) -> None:
        windows = SlidingWindow(window, stride, by_time, gap, ahead, label_at)
        files = [Path(one).expanduser().absolute() for one in ([path] if isinstance(path, str) else path)]
        if not files:
            raise DataError("The source 'series' got an empty list of files.")
        super().__init__(recordings_of(files), field, windows, " and ".join(f"'{file}'" for file in files[:2]))


def recordings_of(files: list[Path]) -> list[Recording]:
    """Return every series of some files, named by the file's path below the folder that holds them all."""
    top = os.path.commonpath([file.parent for file in files])
    return [
        Recording(
            f"{file.relative_to(top).as_posix()}/{row}",
            one.values_CT,
            {} if one.label is None else {"target" if isinstance(one.label, float) else "class": one.label},
            _split(file),
            channels=one.channels,
        )
        for file in files
        for row, one in enumerate(read(file))
    ]


def _split(file: Path) -> str | None:
    """Return the split that a file's name ends in, or None."""
    ending = file.stem.rpartition("_")[2].lower()
    return ending if ending in ("train", "val", "test") else None
