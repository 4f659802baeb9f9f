import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("aeon", reason="the extra 'series' is not installed")

from sensorium.errors import DataError
from sensorium.modalities.timeseries.sources.aeon import Aeon, datasets

SETS = {  # train, test, channels, shortest and longest, classes
    "ArrowHead": (36, 175, 1, (251, 251), 3),
    "GunPoint": (50, 150, 1, (150, 150), 2),
    "ItalyPowerDemand": (67, 1029, 1, (24, 24), 2),
    "BasicMotions": (40, 40, 6, (100, 100), 4),
    "JapaneseVowels": (270, 370, 12, (7, 29), 9),
    "PickupGestureWiimoteZ": (50, 50, 1, (29, 361), 10),
}


@pytest.mark.parametrize("name", SETS)
def test_the_data_sets_equal_the_archive(name):
    source = Aeon(name)
    keys = [source.key(i) for i in range(len(source))]
    values = [source[i].values["timeseries"] for i in range(len(source))]
    lengths = [v.shape[1] for v in values]
    found = (
        sum(key.split == "train" for key in keys),
        sum(key.split == "test" for key in keys),
        values[0].shape[0],
        (min(lengths), max(lengths)),
        len({key.labels["class"] for key in keys}),
    )
    assert found == SETS[name]
    assert all(np.isfinite(v).all() for v in values)


def test_all_eight_data_sets_are_found_and_others_refused():
    _, names = datasets()
    assert {*SETS, "OSULeaf", "ACSF1"} <= set(names)
    with pytest.raises(DataError, match="did you mean 'GunPoint'"):
        Aeon("Gunpoint")


def test_aeon_itself_is_not_imported():
    code = (
        "import sys; from sensorium.modalities.timeseries.sources import aeon; "
        "aeon.Aeon(); print('aeon' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
