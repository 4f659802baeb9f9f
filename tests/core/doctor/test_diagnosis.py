"""A diagnosis of this machine, for recipes of toy vectors; rates are real, so only what must hold of them is asked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sensorium.data.arrays import ArraysSource
from sensorium.doctor.diagnosis import Diagnosis, diagnose
from sensorium.doctor.machine import Missing
from sensorium.errors import DataError, RecipeError
from tests import toys

from .conditions import BALANCED, GPU, STARVED


def test_a_recipe_is_measured_and_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = toys.recipe(data={"batch": 16, "workers": 1, "val": 0.15, "test": 0.15, "cache": "ram"})
    found = diagnose(recipe, [], toys.extensions(), source=toys.vectors(), seconds=0.05)
    rates = found.rates
    assert sum(rates.records.values()) == 96
    assert (rates.batch, rates.batch_bytes, rates.cache_bytes) == (16, 16 * 8 * 4, rates.records["train"] * 8 * 4)
    assert [rate.workers for rate in rates.decode] == [0, 1]
    assert all(rate.records_per_second > 0 for rate in rates.decode)
    assert rates.views_per_second > rates.steps_per_second > 0
    assert (rates.name, rates.device, rates.precision, rates.device_bytes) == ("toy", "cpu", "32-true", None)
    weights = 8 * 32 + 32 + 2 * 32 + 32 * 16 + 16 + 16 * 32 + 32 * 8
    assert weights * 4 * 3 < rates.checkpoint_bytes < weights * 4 * 4
    assert list(tmp_path.iterdir()) == []


def test_holes_and_two_modalities_are_measured_as_they_come(tmp_path):
    found = diagnose(
        toys.pair_recipe(), [], toys.extensions(), source=toys.vectors(missing=0.5), folder=tmp_path, seconds=0.0
    )
    assert found.rates.batch_bytes < 2 * 16 * 8 * 4
    assert found.rates.is_cacheable


def test_what_would_stop_the_training_stops_the_doctor():
    extensions = toys.extensions()
    with pytest.raises(RecipeError, match="names no source"):
        diagnose(toys.recipe(), [], extensions)
    small = ArraysSource({"a": ["1 2 3 4 5 6 7 8"] * 8}, labels={"class": np.arange(8).tolist()})
    with pytest.raises(DataError):
        diagnose(toys.recipe(), ["data.batch=100"], extensions, source=small, seconds=0.0)


def test_rates_are_not_measured_by_all_processes_of_a_launcher(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert diagnose(None, [], toys.extensions()).machine.launcher.name == "torchrun"
    with pytest.raises(RecipeError, match="torchrun started 4"):
        diagnose(toys.recipe(), [], toys.extensions(), source=toys.vectors())


def test_the_schema_of_its_json_is_stable():
    missing = [Missing("sensorium[audio]", ["soundfile"], ["source audio"])]
    found = Diagnosis(replace(GPU, missing=missing), replace(STARVED, cache="ram"), []).public()
    json.dumps(found, allow_nan=False)
    assert found["schema"] == 1
    assert list(found) == ["schema", "machine", "rates", "advice"]
    assert set(found["machine"]) == {
        *("versions", "cpu", "cores", "threads", "workers", "devices", "has_unused_driver", "accelerator"),
        *("precision", "launcher", "memory", "shared_memory", "disk", "missing", "broken"),
    }
    assert found["machine"]["devices"] == [
        {"kind": "cuda", "name": "NVIDIA H100", "memory": {"total": 80e9, "free": 78e9}, "has_bf16": True}
    ]
    assert found["machine"]["launcher"] == {"name": "none", "rank": 0, "processes": 1, "local_processes": 1, "nodes": 1}
    assert found["machine"]["missing"] == [
        {"install": "sensorium[audio]", "packages": ["soundfile"], "parts": ["source audio"]}
    ]
    assert set(found["rates"]) == {
        *("name", "records", "batch", "batch_bytes", "cache_bytes", "is_cacheable", "cache", "workers", "decode"),
        *("device", "precision", "measured_batch", "views_per_second", "steps_per_second", "checkpoint_bytes"),
        *("device_bytes", "loaded_per_second", "bottleneck", "epoch_seconds"),
    }
    assert found["rates"]["decode"][0] == {"workers": 0, "records_per_second": 1500.0}
    assert found["rates"]["loaded_per_second"] is None  # they are in a cache
    assert Diagnosis(GPU, None, []).public()["rates"] is None
    assert Diagnosis(GPU, BALANCED, []).public()["rates"]["loaded_per_second"] == 9_000.0
