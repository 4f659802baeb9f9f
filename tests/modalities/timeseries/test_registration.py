"""The conformance kit for all that the plugin registers, and the imports of a registration."""

import numpy as np

from tests.conformance import heavy_imports, passed
from tests.modalities.timeseries.series import raw_sets


def samples_of_any_channels():
    """Series of 1 to 9 channels with gaps, a constant channel, one without a value, and one without names."""
    made = raw_sets((2, 9, 1, 4), steps=48)
    made[0]["values"][:, 5:9] = np.nan
    made[1]["values"][0, ::3] = np.nan
    made[1]["values"][3] = np.nan
    made[3]["values"][1] = 3.0
    return [*made, made[3]["values"][:, :17]]


def options(tmp):
    np.savez(tmp / "all.npz", x=np.random.default_rng(0).standard_normal((6, 2, 30)), y=np.arange(6) % 2)
    rows = "\n".join(f"{i % 3},{i},{i * 0.5},{i * i}" for i in range(60))
    (tmp / "rows.csv").write_text(f"id,time,a,b\n{rows}\n")
    names = ",".join(str(1100 + step) for step in range(20))
    (tmp / "spectra.csv").write_text("\n".join([names, *(",".join(["0.5"] * 20) for _ in range(6))]))
    return {
        "sources/spectra": {"path": str(tmp / "spectra.csv")},
        "sources/series": {"path": str(tmp / "all.npz"), "window": 8, "stride": 4},
        "sources/series-table": {"path": str(tmp / "rows.csv"), "id": "id", "time": "time", "window": 8},
        "encoders/dilated": {"dim": 16, "width": 8, "depth": 3},
        "encoders/inception": {"filters": 4},
        "encoders/patch-transformer": {"width": 16, "depth": 2},
        "encoders/channel-transformer": {"width": 16, "depth": 2},
        "views/augment": {"segments": 4, "frequency_mask": 0.2, "channel_dropout": 0.5, "mask_ratio": 0.3},
    }


def test_everything_conforms(tmp_path):
    assert passed("timeseries", options(tmp_path)) > 60


def test_parts_for_any_channels_conform():
    any_channels = {"modality": {"channels": "any"}}
    masks = [{"across": across} | any_channels for across in ("time", "channels", "none")]
    options = {
        "modalities/timeseries": {"channels": "any"},
        "encoders/channel-transformer": {"width": 16, "depth": 2} | any_channels,
        "views/patch-mask": masks,
        "views/channel-dropout": any_channels,
    }
    samples = {"timeseries": samples_of_any_channels()}
    parts = (
        "modality timeseries",
        *(f"timeseries/{name}" for name in ("channel-transformer", "patch-mask", "channel-d")),
    )
    assert all(passed("timeseries", options, samples=samples, only=part) > 9 for part in parts)


def test_registration_imports_nothing_heavy():
    heavy = "torch", "numpy", "PIL", "pyarrow", "aeon"
    assert heavy_imports("sensorium.modalities.timeseries", heavy) == []
