"""Clusters: planted ones are found, numbered by size, and named."""

import numpy as np
import pyarrow as pa
import pytest

from sensorium.curation import clusters as module, k_means
from sensorium.curation.clusters import ClusterOptions, find_clusters, names_by_label, names_by_prompts
from sensorium.errors import SensoriumError
from tests.core.curation.planted import blobs, records

LABELS = ["ant", "bee", "cat", None]


def uneven():
    """Four clusters of 80, 60, 40 and 20 records."""
    x, of = blobs(400)
    kept = np.concatenate([np.flatnonzero(of == k)[: 80 - 20 * k] for k in range(4)])
    return x[kept], of[kept]


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_planted_clusters_are_found_the_largest_first(method):
    x, of = uneven()
    found = find_clusters(records(x), ClusterOptions(method, count=4))
    assert (found.of_M == of).mean() > 0.95
    assert found.centres_KD.shape == (4, 16)
    members = found.members(2)
    assert (np.diff(found.cosine_M[members]) <= 0).all()


def test_mini_batches_find_them_too(monkeypatch):
    monkeypatch.setattr(k_means, "WORK", 0)
    x, of = uneven()
    found = find_clusters(records(x), ClusterOptions(count=4, seed=3))
    assert (found.of_M == of).mean() > 0.95
    assert (find_clusters(records(x), ClusterOptions(count=4, seed=3)).of_M == found.of_M).all()


def test_hdbscan_of_many_records_clusters_a_sample(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 120)
    x, of = uneven()
    found = find_clusters(records(x), ClusterOptions("hdbscan", least=5))
    assert (found.of_M == of).mean() > 0.9


def test_hdbscan_that_finds_nothing_leaves_all_as_noise():
    found = find_clusters(records(np.random.default_rng(0).standard_normal((30, 8))), ClusterOptions("hdbscan"))
    assert (found.of_M == -1).all()
    assert len(found.centres_KD) == 0


def test_labels_name_clusters_by_the_commonest_value():
    x, of = uneven()
    labels = [LABELS[k] for k in of]
    labels[0] = "cat"
    found = find_clusters(records(x), ClusterOptions(count=4))
    names = names_by_label(found, "class", pa.array(labels))
    assert names.names == ["ant", "bee", "cat", None]
    assert names.fits[:3] == pytest.approx([79 / 80, 1, 1])
    assert np.isnan(names.fits[3])


def test_prompts_name_clusters_whatever_gap_lies_between_the_modalities():
    x, of = uneven()
    middles = np.stack([x[of == k].mean(0) for k in range(4)])
    gap = 40 * np.random.default_rng(5).standard_normal(16)
    among = records(x)
    found = find_clusters(among, ClusterOptions(count=4))
    names = names_by_prompts(found, among.mean_D, ["ant", "bee", "cat", "dog"], middles - middles.mean(0) + gap)
    assert names.names == ["ant", "bee", "cat", "dog"]
    with pytest.raises(SensoriumError, match="two prompts or more"):
        names_by_prompts(found, among.mean_D, ["ant"], middles[:1])
    with pytest.raises(SensoriumError, match="no joint space"):
        names_by_prompts(found, among.mean_D, ["ant", "bee"], middles[:2, :5])


def test_more_clusters_than_records_are_refused():
    with pytest.raises(SensoriumError, match="ask for fewer"):
        find_clusters(records(blobs(8)[0]), ClusterOptions(count=9))
