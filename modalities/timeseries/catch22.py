"""The 22 canonical characteristics of a time series (Lubba et al. 2019), by their authors' library.

`pycatch22` is licensed under the GPL, version 3 or later: an extra of its own, imported only where it is asked for.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from sensorium.errors import PluginError
from sensorium.modalities.signal.batch import SignalBatch


def require() -> None:
    """Look for the library, before any data is read.

    Raises:
        PluginError: when it is not installed.
    """
    if find_spec("pycatch22") is None:
        raise PluginError(
            "The baseline features catch22 of the modality 'timeseries' need pycatch22 (GPL-3.0), which is not "
            "installed: run pip install 'sensorium[catch22]', or set the modality's baseline to series."
        )


def catch22(batch: SignalBatch) -> np.ndarray:
    """Return the characteristics of each channel side by side, float32 (B, 22 x C), finite.

    Between observed values the series goes in straight lines, before the first and after the last it stays at them; a
    channel of which nothing is observed counts as constant. A characteristic that a short or constant series does not
    have is the fixed value that the library gives it.
    """
    from pycatch22 import catch22_all

    rows = [[catch22_all(filled(x_T))["values"] for x_T in x_CT] for x_CT in batch.unpad()]
    return np.array(rows, np.float32).reshape(len(rows), -1)


def filled(x_T: np.ndarray) -> np.ndarray:
    """Return a series without gaps, float64 (T,), by linear interpolation; zeros when it is nothing but gaps."""
    seen_T = ~np.isnan(x_T)
    if not seen_T.any():
        return np.zeros(len(x_T))
    return np.interp(np.arange(len(x_T)), np.flatnonzero(seen_T), x_T[seen_T])
