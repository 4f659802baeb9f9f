"""The spaces "layers" and "tokens" of a run: what is read, of how many records, and what lacks them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sensorium
from sensorium.errors import DataError, EvaluationError, RunError, SensoriumError
from sensorium.evaluation.features import ModelReader, feature_tables, read_features
from sensorium.evaluation.part_reader import PartReader
from sensorium.feature_table import FeatureTable
from sensorium.types import Features
from tests import toys

PROBES = {
    "layers": {"label": "class", "Cs": [0.1], "modality": "a"},
    "attentive": {"label": "class", "lrs": [0.003, 0.01], "weight_decays": [0.1], "epochs": 1, "modality": "a"},
    "knn": {"label": "class", "modality": "a"},
}


def pairs(**changes):
    towers = {
        name: {"modality": "vector", "views": {"name": "noise", "views": 1}, "encoder": "numbers"}
        for name in ("a", "b")
    }
    recipe = toys.pair_recipe(evaluate={"batch": 8, "evaluators": PROBES}) | {"modalities": towers}
    return recipe | {"train": {"steps": 4, "accelerator": "cpu"}} | changes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pairs"
    return sensorium.fit(
        pairs(), source=toys.incomplete_pairs(), run_dir=folder, evaluate=False, extensions=toys.extensions()
    )


@pytest.fixture(scope="module")
def tables(run):
    return evaluated(run, list(PROBES))


def evaluated(run, evaluators, changes=()):
    known = {"source": toys.incomplete_pairs(), "extensions": toys.extensions(), "device": "cpu"}
    return sensorium.evaluate(run.run.folder, evaluators, changes, **known)


@pytest.fixture(scope="module")
def read(run):
    """A function that reads the train part of the run's records in slices, as ranks do."""
    source, model = toys.incomplete_pairs(), run
    reader = PartReader(model.plan, source, run.run)

    def tables(spaces, ranks=1, samples=None):
        at = ModelReader(model, spaces, samples)
        batches = list(reader.batches("train"))
        cuts = np.array_split(np.arange(len(batches)), ranks)
        rows = [read_features([batches[number] for number in cut], [at]) for cut in cuts]
        return feature_tables(rows, source.columns())[0]

    return tables


def test_layers_and_tokens_lie_where_their_records_are(run, read):
    found = read(["features", "layers", "tokens"])
    layers, tokens, features = (found[space] for space in ("layers", "tokens", "features"))
    assert layers.ids == tokens.ids == features.ids
    assert [str(layer) for layer in layers.layers["a"]] == [str(layer) for layer in layers.layers["b"]]
    assert layers.features["a"].shape == (len(layers), 8, 12)
    assert tokens.features["a"].dtype == np.float16
    for name in ("a", "b"):
        present_N = features.present[name]
        np.testing.assert_array_equal(tokens.present[name], present_N)
        normed_ND, cls_ND = layers.features[name][:, 5], layers.features[name][:, 7]
        np.testing.assert_allclose(normed_ND + cls_ND, features.features[name], rtol=1e-4, atol=1e-5)
        x_NTD = tokens.features[name].astype(np.float32)
        assert np.isnan(x_NTD[~present_N]).all()
        np.testing.assert_allclose(np.nanmean(x_NTD[present_N], axis=1), normed_ND[present_N], rtol=0.01, atol=0.01)
    lengths = (~np.isnan(tokens.features["a"]).all(2)).sum(1)
    assert len(set(lengths.tolist())) > 2


@pytest.mark.parametrize("ranks", [2, 3])
def test_slices_of_ranks_join_to_what_one_reads(read, ranks):
    """Batches, and ranks, have different numbers of tokens."""
    alone, together = read(["layers", "tokens"]), read(["layers", "tokens"], ranks)
    for space, table in alone.items():
        assert together[space].ids == table.ids
        for name, x in table.features.items():
            np.testing.assert_array_equal(together[space].features[name], x)


def test_a_space_has_rows_of_its_sample_alone(read):
    whole = read(["features", "tokens"])
    sample = whole["tokens"].positions[[3, 5, 20, 21]]
    some = read(["features", "tokens"], 2, {"tokens": sample})
    assert len(some["features"]) == len(whole["features"])
    assert some["tokens"].positions.tolist() == sample.tolist()
    longest = some["tokens"].features["a"].shape[1]
    np.testing.assert_array_equal(some["tokens"].features["a"], whole["tokens"].features["a"][[3, 5, 20, 21], :longest])
    assert some["tokens"].labels["class"].tolist() == whole["tokens"].labels["class"][[3, 5, 20, 21]].tolist()


def test_tables_are_cut_and_joined_with_their_layers_and_tokens(read):
    whole = read(["layers", "tokens"])
    for table in whole.values():
        one, other = table.select(np.arange(10)), table.select(np.arange(10, len(table)))
        other.features["a"] = other.features["a"][
            :, : 1 + int((~np.isnan(other.features["a"])).any((0, 2)).nonzero()[0][-1])
        ]
        joined = one.join(other)
        assert joined.layers == table.layers
        np.testing.assert_array_equal(joined.features["a"], table.features["a"])
    without = FeatureTable(["z"], {}, {}, {}, ["z"])
    joined = whole["tokens"].join(without)
    assert joined.features["a"].dtype == np.float16
    assert np.isnan(joined.features["a"][-1]).all()


def test_tokens_beyond_the_range_of_half_precision_are_in_single(read, monkeypatch):
    encode = toys.Numbers.encode_tokens

    def large(self, tokens, keep=None):
        made = encode(self, tokens, keep)
        return Features(made.pooled, made.tokens * 1e6, made.mask)

    monkeypatch.setattr(toys.Numbers, "encode_tokens", large)
    assert read(["tokens"])["tokens"].features["a"].dtype == np.float32


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_tokens_that_are_not_finite_are_named(read, monkeypatch, value):
    encode = toys.Numbers.encode_tokens

    def diverged(self, tokens, keep=None):
        made = encode(self, tokens, keep)
        made.tokens[0, 0, 3] = value
        return made

    monkeypatch.setattr(toys.Numbers, "encode_tokens", diverged)
    with pytest.raises(SensoriumError, match="The features of 'a' are not finite"):
        read(["tokens"])


def test_a_run_has_tables_chosen_on_its_val_part(run, tables):
    rows = ["chance", "untrained", "trained"]
    for name in ("layers", "attentive"):
        table = tables[name]
        assert [row.name for row in table.rows] == rows
        assert all("of val" in " ".join(table.row(row).notes) for row in rows[1:])
        assert table.split == tables["knn"].split
    files = {path.name for path in run.run.evaluations.iterdir()}
    assert {"layers.png", "layers-layers.csv", "layers-predictions.parquet", "attentive.md"} <= files


def test_max_records_samples_each_part(run):
    changes = ["evaluate.evaluators.layers.max_records=30", "evaluate.evaluators.attentive.max_records=12"]
    tables = evaluated(run, ["layers", "attentive"], changes)
    assert tables["layers"].counts[0] == 30
    assert tables["attentive"].counts == (12, 12)
    assert any(remark.startswith("Sampled: 12 of ") for remark in tables["attentive"].remarks)


def test_memory_bounds_the_sample(run, monkeypatch):
    monkeypatch.setattr("sensorium.evaluation.run_evaluation.BUDGET", 40_000)
    tables = evaluated(run, ["layers"])
    assert any(remark.startswith("Sampled: ") for remark in tables["layers"].remarks)


def test_an_encoder_without_layers_or_tokens_says_so():
    recipe = toys.recipe(evaluate={"evaluators": {"layers": {}}})
    with pytest.raises(DataError, match=r"'layers' cannot measure these records: it probes the layers .* 'mlp' tells"):
        sensorium.fit(recipe, source=toys.vectors(), extensions=toys.extensions())


def test_tables_of_others_are_measured_where_there_are_no_tokens(tmp_path):
    evaluators = {"attentive": PROBES["attentive"], "knn": PROBES["knn"]}
    recipe = toys.recipe(evaluate={"evaluators": evaluators}, train={"steps": 2, "accelerator": "cpu"})
    with pytest.raises(EvaluationError, match="no encoder here returns tokens, which attention pools") as caught:
        sensorium.fit(recipe, source=toys.vectors(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert list(caught.value.tables) == ["knn"]


def test_layers_are_measured_during_a_training(tmp_path):
    recipe = pairs(evaluate={"every": 1, "batch": 8, "evaluators": {"layers": PROBES["layers"]}})
    run = sensorium.fit(recipe, source=toys.incomplete_pairs(), run_dir=tmp_path / "run", extensions=toys.extensions())
    assert "layers/accuracy" in (run.run.folder / "metrics.jsonl").read_text()


def test_raw_values_are_embedded_in_all_spaces(run):
    values = [toys.incomplete_pairs()[at].values["a"] for at in range(9)]
    assert run.embed(space="layers", a=values)["a"].shape == (9, 8, 12)
    whole, pieces = (run.embed(space="tokens", batch=size, a=values)["a"] for size in (9, 2))
    torch.testing.assert_close(whole, pieces, equal_nan=True)
    assert whole.isnan().any()


def test_layers_and_tokens_are_written_to_npz_alone(run, tmp_path):
    known = {"source": toys.incomplete_pairs(), "extensions": toys.extensions(), "device": "cpu", "part": "test"}
    for space in ("layers", "tokens"):
        count = sensorium.embed(run.run.folder, tmp_path / f"{space}.npz", space=space, **known)
        written = np.load(tmp_path / f"{space}.npz")
        assert written["a"].shape[0] == count
        assert written["a"].ndim == 3
        with pytest.raises(RunError, match=f"there are several {space}, which are written to .npz alone"):
            sensorium.embed(run.run.folder, tmp_path / "made.csv", space=space, **known)
    assert np.load(tmp_path / "layers.npz")["layers.a"].tolist()[:4] == [
        "1",
        "1, final norm",
        "1, class token",
        "1, class token, final norm",
    ]
