"""The data sets bundled with aeon.

They are from the UCR and UEA archives (https://timeseriesclassification.com; Dau et al. 2019, Bagnall et al. 2018) and
the time series regression archive (Tan et al. 2020); cite them when you publish results.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sensorium.errors import DataError, not_found
from sensorium.modalities.timeseries.sources.files import recordings_of
from sensorium.modalities.timeseries.sources.recordings import RecordingSource, SlidingWindow


class Aeon(RecordingSource):
    """UCR and UEA data sets with their fixed train and test parts, of unequal lengths where the original is.

    Among them are ArrowHead, GunPoint, ItalyPowerDemand, OSULeaf, ACSF1, PickupGestureWiimoteZ (one channel),
    BasicMotions and JapaneseVowels (6 and 12 channels), which carry the label "class".

    Args:
        dataset: name of the data set.
        field: the field of the time series.
    """

    def __init__(self, dataset: str = "GunPoint", field: str = "timeseries") -> None:
        folder, names = datasets()
        if dataset not in names:
            raise DataError(
                not_found(
                    f"aeon bundles no data set '{dataset}'", dataset, names, f"its data sets are: {', '.join(names)}"
                )
            )
        files = [folder / dataset / f"{dataset}_{part}.ts" for part in ("TRAIN", "TEST")]
        super().__init__(recordings_of(files), field, SlidingWindow(), f"aeon's {dataset}")


def datasets() -> tuple[Path, list[str]]:
    """Return aeon's data folder, found without importing aeon, and the data sets in it that have two parts."""
    spec = find_spec("aeon")
    assert spec is not None, "the registration requires aeon"
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"  # type: ignore[index]
    names = (one.name for one in sorted(folder.iterdir()) if one.is_dir())
    return folder, [n for n in names if all((folder / n / f"{n}_{part}.ts").is_file() for part in ("TRAIN", "TEST"))]
