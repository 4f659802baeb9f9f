"""Time series: what sensors record, of one or many channels, of any length, with gaps."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.timeseries"

sensorium_samples = {"timeseries": f"{_HOME}.samples:series"}

sensorium_matrix = {
    "columns/timeseries": {
        "about": "OSULeaf (UCR archive, Gandhi 2002, with aeon): 442 leaves of six trees, the archive's parts",
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
        "timeseries", f"{_HOME}.modality:TimeSeriesModality", summary="sensor series of any length, with missing values"
    )


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    home = f"{_HOME}.encoders"
    register(
        "dilated",
        f"{home}.dilated:Dilated",
        modality="timeseries",
        summary="dilated convolutions, a token for each step, as in TS2Vec",
    )
    register(
        "inception",
        f"{home}.inception:Inception",
        modality="timeseries",
        summary="convolutions of several lengths side by side, as in InceptionTime",
    )
    register(
        "patch-transformer",
        f"{home}.patch_transformer:PatchTransformer",
        modality="timeseries",
        summary="a transformer over patches that shows its tokens",
    )


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    home = f"{_HOME}.views"
    signal = "sensorium.modalities.signal.views"
    register("plain", f"{signal}:Plain", modality="timeseries", summary="the series itself")
    register(
        "augment",
        f"{home}.generators:Augment",
        modality="timeseries",
        summary="cut, warped, scaled, noisy and partly hidden views, each strength an option",
    )
    register(
        "weak-strong",
        f"{home}.generators:WeakStrong",
        modality="timeseries",
        summary="a scaled view, and a shuffled and noisy one, as in TS-TCC",
    )
    register(
        "overlapping-crops",
        f"{home}.crops:OverlappingCrops",
        modality="timeseries",
        summary="two crops that share some steps, as in TS2Vec",
    )
    register(
        "hidden-patches",
        f"{home}.generators:HiddenPatches",
        modality="timeseries",
        summary="the series itself, and which runs of its patches are to be hidden",
    )
    register(
        "permutation",
        f"{signal}:Permutation",
        modality="timeseries",
        summary="shuffled segments, whose order is to be told",
    )


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    home = f"{_HOME}.sources"
    register("series", f"{home}.files:SeriesFiles", summary="files of whole series: .ts, UCR .tsv, .arff and .npz")
    register("series-table", f"{home}.table:SeriesTable", summary="sensor readings in CSV or Parquet, wide or long")
    register(
        "aeon",
        f"{home}.aeon:Aeon",
        summary="UCR and UEA data sets with fixed splits, which aeon brings along",
        requires=["aeon"],
        extra="series",
    )
