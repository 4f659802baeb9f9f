"""The time series modality: one or many channels, any length, missing values."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.timeseries"

sensorium_samples = {"timeseries": f"{_HOME}.samples:series"}

sensorium_matrix = {
    "columns/timeseries": {
        "description": "OSULeaf (UCR archive, Gandhi 2002, with aeon): 442 leaves of six trees, the archive's parts",
        "data": {"source": {"name": "aeon", "dataset": "OSULeaf"}, "batch": 32, "cache": "ram"},
        "modalities": {
            "timeseries": {
                "modality": {"name": "timeseries", "scale": "standard"},
                "views": [
                    "augment",
                    {"name": "augment", "views": 6},
                    "overlapping-crops",
                    "plain",
                    "permutation",
                ],
                "encoders": [
                    {"name": "inception", "filters": 8, "depth": 3},
                    {"name": "patch-transformer", "patch": 8, "width": 64, "depth": 2},
                    {"name": "patch-transformer", "patch": 8, "width": 64, "depth": 2, "causal": True},
                    {"name": "dilated", "dim": 128, "width": 32, "depth": 6},
                ],
            }
        },
        "evaluator": {"name": "knn", "label": "class"},
        "metric": "accuracy",
        "requires": ["aeon"],
    }
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register(
        "timeseries",
        f"{_HOME}.modality:TimeSeriesModality",
        summary="time series of any length, univariate or multivariate, with missing values",
    )


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    home = f"{_HOME}.encoders"
    register(
        "dilated",
        f"{home}.dilated:Dilated",
        modality="timeseries",
        summary="dilated CNN of TS2Vec, a token for each time step",
    )
    register(
        "inception",
        f"{home}.inception:Inception",
        modality="timeseries",
        summary="InceptionTime: parallel convolutions of several kernel sizes",
    )
    register(
        "patch-transformer",
        f"{home}.patch_transformer:PatchTransformer",
        modality="timeseries",
        summary="patch transformer, as PatchTST; a token encoder",
    )
    register(
        "channel-transformer",
        f"{home}.channel_transformer:ChannelTransformer",
        modality="timeseries",
        summary="transformer with a token for each channel and patch, for series of any channels; a token encoder",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    home = f"{_HOME}.views"
    signal = "sensorium.modalities.signal.views"
    register("plain", f"{signal}:Plain", modality="timeseries", summary="the series itself, without augmentation")
    register(
        "augment",
        f"{home}.augment:Augment",
        modality="timeseries",
        summary="mixup, window slicing, warping, permutation, scaling, jitter, masking; each strength an option",
    )
    register(
        "weak-strong",
        f"{home}.augment:WeakStrong",
        modality="timeseries",
        summary="weak (scaling) and strong (permutation and jitter) augmentation of TS-TCC",
    )
    register(
        "overlapping-crops",
        f"{home}.crops:OverlappingCrops",
        modality="timeseries",
        summary="two overlapping random crops, as in TS2Vec",
    )
    register(
        "patch-mask",
        f"{home}.masking:PatchMask",
        modality="timeseries",
        summary="the series itself, with spans of masked patches for a masked objective",
    )
    register(
        "channel-dropout",
        f"{home}.masking:ChannelDropout",
        modality="timeseries",
        summary="views that lack channels at random, at least one stays",
    )
    register(
        "spectra",
        f"{home}.spectra:Spectra",
        modality="timeseries",
        summary="spectra with shifted and tilted baseline, scale, noise and a small wavelength shift",
    )
    register(
        "permutation",
        f"{signal}:Permutation",
        modality="timeseries",
        summary="shuffled segments, whose permutation is the target to predict",
    )


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    home = f"{_HOME}.sources"
    register("series", f"{home}.files:SeriesFiles", summary="files of whole series: .ts, UCR .tsv, .arff and .npz")
    register(
        "series-table",
        f"{home}.table:SeriesTable",
        summary="tables of time series, wide or long: CSV, TSV, JSONL or Parquet",
    )
    register(
        "spectra",
        f"{home}.spectra:SpectraTable",
        summary="tables of spectra: a row for each spectrum, a column for each wavelength",
    )
    register(
        "aeon",
        f"{home}.aeon:Aeon",
        summary="UCR and UEA data sets with fixed splits, bundled with aeon",
        requires=["aeon"],
        extra="series",
    )
