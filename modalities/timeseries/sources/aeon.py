"""The data sets that the wheel of aeon brings along.

They are those of the UCR and UEA archives (https://timeseriesclassification.com; Dau et al. 2019, Bagnall et al. 2018)
and of the archive of time series regression (Tan et al. 2020); whoever publishes figures names them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sensorium.errors import DataError, did_you_mean
from sensorium.modalities.timeseries.sources.files import recordings_of
from sensorium.modalities.timeseries.sources.recordings import RecordingSource, Windows


class Aeon(RecordingSource):
    """Data sets with their fixed train and test parts, of unequal lengths where the original is.

    Among them are ArrowHead, GunPoint, ItalyPowerDemand, OSULeaf, ACSF1, PickupGestureWiimoteZ (one channel),
    BasicMotions and JapaneseVowels (6 and 12 channels), which carry the label "class".

    Args:
        dataset: the name of the data set.
        field: the name under which records carry their series.
    """

    def __init__(self, dataset: str = "GunPoint", field: str = "timeseries") -> None:
        folder, names = datasets()
        if dataset not in names:
            raise DataError(
                f"aeon brings along no data set '{dataset}'{did_you_mean(dataset, names)}; "
                f"its data sets are: {', '.join(names)}."
            )
        files = [folder / dataset / f"{dataset}_{part}.ts" for part in ("TRAIN", "TEST")]
        super().__init__(recordings_of(files), field, Windows(), f"aeon's {dataset}")


def datasets() -> tuple[Path, list[str]]:
    """Return aeon's folder of data, found without importing it, and the sets in it that have two parts."""
    spec = find_spec("aeon")
    assert spec is not None, "the registration requires aeon"
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"  # type: ignore[index]
    names = (one.name for one in sorted(folder.iterdir()) if one.is_dir())
    return folder, [n for n in names if all((folder / n / f"{n}_{part}.ts").is_file() for part in ("TRAIN", "TEST"))]
