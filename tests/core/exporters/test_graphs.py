"""Encoders as graphs, for onnxruntime and for torch alone."""

import numpy as np
import onnxruntime
import pytest
import torch

from sensorium.errors import SensoriumError
from sensorium.exporters.onnx import Onnx
from sensorium.exporters.torch_export import TorchExport
from sensorium.exporters.traced import Traceable
from tests.core.exporters import models

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("make", "lengths"),
    [
        (models.texts, 2),
        pytest.param(models.vit, 1, marks=SLOW),
        pytest.param(models.series, 2, marks=SLOW),
        pytest.param(models.clips, 2, marks=SLOW),
    ],
)
@pytest.mark.parametrize("exporter", [Onnx, pytest.param(TorchExport, marks=SLOW)])
def test_it_computes_the_same_at_several_batch_sizes_and_lengths(make, lengths, exporter, tmp_path):
    model = make()
    exporter().export(model, tmp_path)
    verified = exporter().verify(model, tmp_path)
    assert len(verified.differences) == 3 * lengths
    assert verified.largest < 1e-5
    assert any("(batch, " in sentence for sentence in verified.takes)


@SLOW
def test_its_lines_run_on_a_batch_of_raw_values(tmp_path):
    model = models.vit()
    lines = Onnx().export(model, tmp_path)
    pictures = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), np.uint8)
    batch = model.plan.modalities["image"].collate([model.plan.modalities["image"].decode(x) for x in pictures])
    names = {"onnxruntime": onnxruntime, "pixels": batch.pixels.numpy()}
    exec(lines, names)
    np.testing.assert_allclose(names["features"], model.embed(image=pictures)["image"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exporter", [Onnx, TorchExport])
def test_batches_that_are_no_plain_tensors_are_refused_before_anything_is_written(exporter, tmp_path):
    with pytest.raises(SensoriumError, match="takes no batches of 'molecule': those of MoleculeModality are more than"):
        exporter().export(models.molecules(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_another_library_computes_otherwise_is_an_error():
    traceable = Traceable.of(models.vit(), None, "onnx")

    def run(tensors):
        return {"features": traceable.module(*tensors.values())[0] + 0.1}

    with pytest.raises(SensoriumError, match=r"largest difference of features at batch 1 is 0\.1, more than"):
        traceable.compare(run)

    def fail(tensors):
        raise ValueError("no such operator\nat line 3")

    with pytest.raises(SensoriumError, match=r"fails at batch 1 \(no such operator\)"):
        traceable.compare(fail)


def test_the_shortest_length_is_found():
    traceable = Traceable.of(models.texts(), None, "onnx")

    def run(tensors):
        length = tensors["ids"].shape[1]
        if length < 3:
            raise ValueError("too short")
        return {"features": traceable.module(*tensors.values())[0] + (length < 5)}

    assert traceable.shortest(run) == 5
    assert "The shortest length that it takes is 5." in traceable.takes(run)
    of_images = Traceable.of(models.vit(), None, "onnx")
    assert of_images.shortest(lambda tensors: {"features": of_images.module(*tensors.values())[0]}) is None


def test_sizes_that_vary_are_read_off_batches():
    of = Traceable.of(models.texts(), None, "onnx")
    assert of.varying == {"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}
    assert Traceable.of(models.vit(), None, "onnx").varying == {"pixels": {0: "batch"}}
    first, again = of.batch(3, False), of.batch(3, False)
    assert torch.equal(first.ids, again.ids)
