"""Tests of `sensorium.training.precision`."""

import logging

import pytest
import torch

import sensorium
from sensorium.errors import RecipeError
from sensorium.recipe.schema import Train
from sensorium.training.fabric import build_fabric
from sensorium.training.precision import numeric_settings
from tests import toys


def train(**options):
    return Train(steps=1, **options)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_inputs_and_targets_of_a_training_are_not_rounded(tmp_path, monkeypatch, precision):
    found = []
    forward = toys.MLP.forward

    def watching(self, batch):
        features = forward(self, batch)
        if self.training:
            found.append((batch.values, features.pooled.dtype))
        return features

    monkeypatch.setattr(toys.MLP, "forward", watching)
    recipe = toys.recipe(train={"steps": 1, "accelerator": "cpu", "precision": precision})
    sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    values, dtype = found[0]
    assert values.dtype == torch.float32
    assert not torch.equal(values, values.bfloat16().float())
    assert dtype == (torch.bfloat16 if precision == "bf16-mixed" else torch.float32), "autocast is on"


def test_an_outcome_keeps_its_dtypes():
    plugin = build_fabric(train(accelerator="cpu", precision="bf16-mixed")).strategy.precision
    half, wide = torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.float64)
    assert plugin.convert_output([half, wide]) == [half, wide]
    assert plugin.convert_input([half, wide]) == [half, wide]


def test_auto_passes_over_mps_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING, logger="sensorium"):
        assert build_fabric(train()).device.type == "cpu"
    assert "mps has no fp64" in caplog.text


def test_fp16_under_fsdp_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match="use bf16-mixed"):
        build_fabric(train(strategy="fsdp", precision="16-mixed"))


def settings():
    """Return what torch is set to."""
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )


def test_settings_are_those_of_the_recipe_and_then_those_that_were_found(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with numeric_settings(train()):
        assert settings() == ("highest", False, True, False), "fp32 is fp32, convolutions included"
    assert settings() == before
    with numeric_settings(train(matmul_precision="high", deterministic=True)):
        assert settings() == ("high", True, False, True)
    assert settings() == before


def test_a_training_and_its_evaluations_have_the_settings_throughout(tmp_path, monkeypatch):
    found = []
    forward = toys.MLP.forward

    def watching(self, batch):
        found.append((torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()))
        return forward(self, batch)

    monkeypatch.setattr(toys.MLP, "forward", watching)
    recipe = toys.recipe(
        train={"steps": 2, "accelerator": "cpu", "deterministic": True, "matmul_precision": "high"},
        evaluate={"evaluators": {"knn": {"k": 3}}},
    )
    given = {"source": toys.vectors(), "extensions": toys.extensions()}
    sensorium.fit(recipe, run_dir=tmp_path / "run", **given)
    trained = len(found)
    sensorium.evaluate(tmp_path / "run", **given)
    assert len(found) > trained > 2
    assert set(found) == {(True, "high")}
    assert not torch.are_deterministic_algorithms_enabled()
