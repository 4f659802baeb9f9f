"""The 22 canonical characteristics of a time series (Lubba et al. 2019), by their authors' library.

`pycatch22` is licensed under the GPL, version 3 or later: an extra of its own, imported only where it is asked for.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from sensorium.errors import PluginError
from sensorium.modalities.signal.batch import SignalBatch


def require_pycatch22() -> None:
    """Raise PluginError when the library is not installed, before any data is read."""
    if find_spec("pycatch22") is None:
        raise PluginError(
            "The baseline features catch22 of the modality 'timeseries' need pycatch22 (GPL-3.0), which is not "
            "installed: run pip install 'sensorium[catch22]', or set the modality's baseline to series."
        )


def catch22(batch: SignalBatch) -> np.ndarray:
    """Return the characteristics of each channel: float32 (B, C, 22), finite; zero for a channel that is padding.

    Gaps are filled by linear interpolation, at the ends by the nearest value; a channel without an observed value
    counts as constant. A characteristic that is undefined for a short or constant series has the library's default.
    """
    from pycatch22 import catch22_all

    made_BCF = np.zeros((*batch.values.shape[:2], 22), np.float32)
    for row_CF, x_CT, own_C in zip(made_BCF, batch.unpad(), batch.own_channels(), strict=True):
        row_CF[own_C] = [catch22_all(interpolate(x_T))["values"] for x_T in x_CT]
    return made_BCF


def interpolate(x_T: np.ndarray) -> np.ndarray:
    """Fill gaps by linear interpolation: float64 (T,); zeros when no value is observed."""
    observed_T = ~np.isnan(x_T)
    if not observed_T.any():
        return np.zeros(len(x_T))
    return np.interp(np.arange(len(x_T)), np.flatnonzero(observed_T), x_T[observed_T])
