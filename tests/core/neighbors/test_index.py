"""Exact and approximate search against a plain product of matrices; the recall that an index says is what it finds."""

import numpy as np
import pytest
import torch

from sensorium.errors import SensoriumError
from sensorium.evaluation.knn import KNN
from sensorium.neighbors import faiss_index, index as neighbors, similarity
from sensorium.neighbors.index import make_index
from sensorium.neighbors.search import ExactIndex, IndexOptions, recall
from sensorium.neighbors.similarity import l2_normalize, nearest_neighbors
from tests.core.evaluation.tables_of_records import blobs


def vectors(count, width=16, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((40, width))
    return l2_normalize(centers[rng.integers(0, 40, count)] + 0.5 * rng.standard_normal((count, width)), "cpu")


def plainly(x, y, k):
    s = (x.double() @ y.double().T).numpy()
    order = np.argsort(-s, axis=1)[:, :k]
    return np.take_along_axis(s, order, 1), order


@pytest.mark.parametrize("tile", [2**18, 64, 7])
def test_tiles_find_what_one_product_finds(tile, monkeypatch):
    monkeypatch.setattr(similarity, "TILED", tile)
    x, y = vectors(30, seed=1), vectors(200)
    for k in (1, 5, 50, 500):
        scores, rows = nearest_neighbors(x, y, k)
        wanted, order = plainly(x, y, k)
        np.testing.assert_allclose(scores, wanted, atol=1e-6)
        np.testing.assert_array_equal(rows[:, :5], order[:, :5])
    assert nearest_neighbors(x[:0], y, 3)[1].shape == (0, 3)


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_index_reaches_its_recall_says_it_and_is_the_same_again(kind, caplog):
    x, y = vectors(300, seed=1), vectors(4000)
    with caplog.at_level("INFO"):
        found = make_index(y, x, 10, IndexOptions(kind))
    scores, rows = found.search(x, 10)
    order = plainly(x, y, 10)[1]
    hits = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), order.tolist(), strict=True)])
    assert found.recall == pytest.approx(hits, abs=0.002)
    assert hits >= 0.95
    np.testing.assert_allclose(scores, (x[:, None].double() * y[rows].double()).sum(-1), atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert caplog.messages[-1].startswith(f"neighbors: {kind} of ")
    assert f"recall@10 {found.recall:.3f}".replace("0.", ".") in caplog.messages[-1]
    again = make_index(y, x, 10, IndexOptions(kind))
    np.testing.assert_array_equal(again.search(x, 10)[1], rows)
    assert again.description == found.description


def test_the_recall_is_that_of_the_neighbors_that_are_asked_for():
    x, y = vectors(200, seed=1), vectors(4000)
    few, many = (make_index(y, x, k, IndexOptions("ivf")) for k in (10, 200))
    assert recall(x, y, few.search(x, 200)[0]) < 0.95 <= recall(x, y, many.search(x, 200)[0])
    assert "recall@200 " in many.description


def test_options_are_taken_and_the_recall_is_what_they_give():
    x, y = vectors(200, seed=1), vectors(3000)
    few = make_index(y, x, 10, IndexOptions("ivf", nprobe=1))
    assert few.effort == 1
    assert few.recall == pytest.approx(recall(x, y, few.search(x, 10)[0]))
    assert few.recall < 0.9 < 0.995 < make_index(y, x, 10, IndexOptions("ivf", nprobe=3000)).recall  # but for float16
    with pytest.raises(SensoriumError, match="nprobe"):
        IndexOptions("ivf", nprobe=0)
    with pytest.raises(SensoriumError, match="no index 'ifv', did you mean 'ivf'"):
        IndexOptions("ifv")


def test_equally_near_neighbors_count_for_the_recall():
    y = vectors(100).repeat(5, 1)
    assert recall(y[:20], y, np.ones((20, 5), np.float32)) == 1.0


def test_auto_is_exact_for_few_and_tells_hours_without_the_library(monkeypatch):
    x, y = vectors(50, seed=1), vectors(500)
    assert isinstance(make_index(y, x, 10, IndexOptions()), ExactIndex)
    monkeypatch.setattr(neighbors, "SMALL", 400)
    assert isinstance(make_index(y, x, 10, IndexOptions()), ExactIndex), "few queries"
    monkeypatch.setattr(neighbors, "QUICK", {"cpu": 1.0})
    assert isinstance(make_index(y, x, 10, IndexOptions()), faiss_index.IVFIndex)
    monkeypatch.setattr(neighbors, "find_spec", lambda name: None)
    monkeypatch.setattr(neighbors, "SPEED", {"cpu": 50 * 500 * 16 / 36_000 / torch.get_num_threads()})
    with pytest.raises(SensoriumError, match="50 queries with 500 vectors exactly takes about 1e"):
        make_index(y, x, 10, IndexOptions())
    with pytest.raises(SensoriumError, match=r"'hnsw' needs FAISS: run pip install 'sensorium\[search\]'"):
        make_index(y, x, 10, IndexOptions("hnsw"))


def test_an_index_that_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr(faiss_index, "memory", lambda: type("Space", (), {"free": 1000}))
    with pytest.raises(SensoriumError, match="The index of 500 vectors takes"):
        make_index(vectors(500), vectors(5), 10, IndexOptions("ivf"))


def test_the_table_of_a_knn_says_how_its_neighbors_were_found():
    train, test = blobs(300, std=1.0), blobs(100, std=1.0, seed=7, prefix="t")
    exact, found = KNN(), KNN(index="ivf")
    for evaluator in (exact, found):
        evaluator.fit(train)
    assert found.measure(test)["accuracy"] == pytest.approx(exact.measure(test)["accuracy"], abs=0.05)
    assert exact.notes() == []
    assert found.notes()[0].startswith("approximate neighbors: ivf of ")
