"""Features under the autocast of a GPU rank records as those in fp32 do, up to noise."""

import numpy as np
import pytest
import torch

import sensorium
from sensorium.devices import evaluation_autocast
from tests import toys

ROUNDED = 2.0**-8
"""Half the spacing of bf16 around one: what a product of unit vectors may be off by."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Pairs of vectors: retrieval in the joint space, and kNN on features."""
    recipe = toys.pair_recipe(evaluate={"evaluators": {}}) | {"train": {"epochs": 20, "accelerator": "cpu"}}
    recipe["data"] = recipe["data"] | {"test": 0.5}
    folder = tmp_path_factory.mktemp("runs") / "pairs"
    sensorium.fit(recipe, source=toys.vectors(count=600), run_dir=folder, extensions=toys.extensions())
    return folder


def measured(run):
    changes = [
        "evaluate.evaluators.retrieval={positives: record}",
        "evaluate.evaluators.knn={label: class, modality: a, k: 20}",
    ]
    tables = sensorium.evaluate(
        run, overrides=changes, source=toys.vectors(count=600), extensions=toys.extensions(), device="cpu"
    )
    return {name: {n: m.mean for n, m in t.row("trained").metrics.items()} for name, t in tables.items()}


def test_metrics_under_bf16_autocast_agree_with_fp32(run, monkeypatch):
    """Bound: a point of accuracy, R@k, MRR, nDCG and MAP, .05 of a mean rank, on 300 records; two ranks may swap."""
    exact = measured(run)
    monkeypatch.setattr("sensorium.models.model.evaluation_autocast", lambda *_: torch.autocast("cpu", torch.bfloat16))
    rounded = measured(run)
    assert rounded != exact, "autocast was on"
    for table in exact:
        for name, value in exact[table].items():
            if "median rank" not in name:
                bound = 0.05 if "mean rank" in name else 0.01
                assert rounded[table][name] == pytest.approx(value, abs=bound), name


def test_rounded_features_lie_close_to_the_exact_ones(run, monkeypatch):
    model = sensorium.load(run, extensions=toys.extensions(), device="cpu")
    values = [toys.vectors(count=600)[i].values["a"] for i in range(100)]
    exact = model.embed(a=values)["a"]
    monkeypatch.setattr("sensorium.models.model.evaluation_autocast", lambda *_: torch.autocast("cpu", torch.bfloat16))
    rounded = model.embed(a=values)["a"]
    assert rounded.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(exact, rounded)
    assert float(cosine.min()) > 1 - 2 * ROUNDED
    assert np.isfinite(rounded.numpy()).all()


@pytest.mark.parametrize(
    ("precision", "device", "dtype"),
    [
        ("auto", "cuda", torch.bfloat16),
        ("bf16-mixed", "cuda", torch.bfloat16),
        ("16-mixed", "cuda", torch.float16),
        ("32-true", "cuda", None),
        ("auto", "cpu", None),
        ("bf16-mixed", "cpu", None),
    ],
)
def test_features_are_computed_in_the_precision_of_the_training_on_a_gpu_only(monkeypatch, precision, device, dtype):
    made = {}

    def autocast(kind, dtype, enabled):
        made.update(kind=kind, dtype=dtype if enabled else None)

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    evaluation_autocast(precision, torch.device(device))
    assert made == {"kind": device, "dtype": dtype}


def test_both_spaces_of_a_batch_come_from_one_pass(run, monkeypatch):
    model = sensorium.load(run, extensions=toys.extensions(), device="cpu")
    modality = model.plan.modalities["a"]
    batch = modality.collate([modality.decode("1 2 3 4 5 6 7 8"), modality.decode("8 7 6 5 4 3 2 1")])
    passes = []
    model.learner.encoders["a"].register_forward_pre_hook(lambda *_: passes.append(1))
    both = model.encode_in(["features", "embedding"], "a", batch)
    assert len(passes) == 1
    assert torch.equal(both["features"], model.encode("a", batch, "features"))
    assert torch.equal(both["embedding"], model.encode("a", batch))
