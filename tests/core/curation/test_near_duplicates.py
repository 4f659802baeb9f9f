"""Near-duplicates: what is one, what leaks, and which record stays."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sensorium.curation.near_duplicates import DuplicateOptions, _similar_pairs, find_near_duplicates
from sensorium.errors import SensoriumError
from sensorium.neighbors.search import IndexOptions
from tests.core.curation.planted import blobs, records

NOISE = 0.05


def strangers(count, width=64, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width))


def near(x_MD, seed=1):
    return x_MD + NOISE * np.random.default_rng(seed).standard_normal(x_MD.shape)


def groups_of(found):
    return [np.flatnonzero(found.group_M == group).tolist() for group in range(int(found.group_M.max()) + 1)]


def test_copies_with_noise_are_groups_and_strangers_are_not():
    x = strangers(60)
    found = find_near_duplicates(records(np.concatenate([x, near(x[:3]), near(x[:1], seed=2)])), DuplicateOptions())
    assert groups_of(found) == [[0, 60, 63], [1, 61], [2, 62]]
    assert np.flatnonzero(~found.keep_M).tolist() == [60, 61, 62, 63]
    assert found.nearest_M[61] == 1
    assert found.cosine_M[61] > 0.99
    assert np.isnan(found.cosine_M[10])
    assert found.pairs.at_least(0.9) == 5  # three of the first, one of each other


@pytest.mark.parametrize(("copies", "others"), [(8, 8), (6, 24), (20, 40), (3, 5)])
def test_copies_that_make_up_much_of_the_records_are_found(copies, others):
    x = strangers(1 + others)
    found = find_near_duplicates(records(np.concatenate([x, near(x[np.zeros(copies, int)])])), DuplicateOptions())
    assert groups_of(found) == [[0, *range(1 + others, 1 + others + copies)]]


def test_of_few_records_that_differ_it_is_said_that_little_can_be_told(caplog):
    find_near_duplicates(records(near(strangers(1)[np.zeros(6, int)])), DuplicateOptions())
    assert "only 6 records differ from each other" in caplog.text


def test_a_common_direction_makes_no_duplicates():
    """Features of most encoders lie in a cone: without centring every two of these have a cosine above .99."""
    x = strangers(60) + 30
    assert groups_of(find_near_duplicates(records(x), DuplicateOptions())) == []


@pytest.mark.parametrize(("prefer", "left_out"), [("test", [0, 2, 3]), ("train", [3, 50, 51])])
def test_what_leaks_is_counted_and_falls_out_of_the_other_part(prefer, left_out):
    x = strangers(50)
    x[3] = near(x[1:2])  # within train
    all_parts = ["train"] * 40 + ["val"] * 10 + ["test", "val"]
    found = find_near_duplicates(
        records(np.concatenate([x, near(x[[0, 2]])]), all_parts), DuplicateOptions(prefer=prefer)
    )
    assert np.argwhere(found.leaks_MP).tolist() == [[50, 0], [51, 0]]
    assert np.flatnonzero(~found.keep_M).tolist() == left_out


def test_a_record_of_test_that_val_has_is_a_leak_too():
    x = strangers(20)
    found = find_near_duplicates(
        records(np.concatenate([x, near(x[:1])]), ["val", *["train"] * 19, "test"]), DuplicateOptions()
    )
    assert np.argwhere(found.leaks_MP).tolist() == [[20, 1]]


def test_records_of_one_group_are_no_duplicates_of_each_other_but_of_another_they_are():
    x = strangers(40)
    x[1], x[3], x[4] = x[0], x[2], near(x[2:3])[0]
    groups = ["a", "a", "b", "b", *(str(row) for row in range(36))]
    found = find_near_duplicates(records(x, groups=groups), DuplicateOptions())
    assert groups_of(found) == [[2, 3, 4]]
    assert np.flatnonzero(~found.keep_M).tolist() == [4], "the whole group of the record that is kept stays"


def test_both_equal_values_of_a_group_leak():
    """The second stands behind the first, which is a pair with the record of train."""
    x = strangers(40)
    x[1], x[39] = x[0], x[0]
    parts, groups = ["test", "test", *["train"] * 38], ["a", "a", *(str(row) for row in range(38))]
    found = find_near_duplicates(records(x, parts, groups), DuplicateOptions())
    assert np.flatnonzero(found.leaks_MP[:, 0]).tolist() == [0, 1]


def test_a_thousand_blank_records_hide_no_other_pair():
    x = strangers(60)
    x = np.concatenate([x, np.zeros((1000, 64)), near(x[:1])])
    found = find_near_duplicates(records(x), DuplicateOptions())
    assert groups_of(found) == [[0, 1060], list(range(60, 1060))]
    assert (~found.keep_M).sum() == 1000


def test_records_that_are_all_equal_are_one_group():
    found = find_near_duplicates(records(np.ones((5, 4))), DuplicateOptions())
    assert groups_of(found) == [[0, 1, 2, 3, 4]]


def test_an_approximate_index_finds_them_and_is_the_same_each_time():
    pytest.importorskip("faiss")
    x = strangers(2000)
    made = [
        find_near_duplicates(records(np.concatenate([x, near(x[:100])])), DuplicateOptions(), IndexOptions("ivf"))
        for _ in range(2)
    ]
    assert len(groups_of(made[0])) >= 99
    assert (made[0].group_M == made[1].group_M).all()
    assert "ivf" in made[0].pairs.searched


def test_members_of_a_tight_cluster_are_no_duplicates():
    """What they have in common, their cluster, is most of each vector."""
    x, _ = blobs(240, width=64, spread=0.5)
    found = find_near_duplicates(records(np.concatenate([x, near(x[:5])])), DuplicateOptions())
    assert groups_of(found) == [[row, 240 + row] for row in range(5)]


@pytest.mark.parametrize("threshold", [0, 1.5])
def test_a_threshold_is_a_cosine(threshold):
    with pytest.raises(SensoriumError, match="threshold"):
        DuplicateOptions(threshold=threshold)


def test_clips_of_one_scene_are_connected_though_their_own_frames_are_nearer():
    """Two sets of 20, more alike within than across: the 16 nearest of each record are of its own set."""
    rng = np.random.default_rng(0)
    noise_MD = 0.02 * rng.standard_normal((40, 64))
    base_MD = np.zeros((40, 64))
    base_MD[:, 0], base_MD[:20, 1], base_MD[20:, 1] = 1.0, 0.18, -0.18
    x_MD = torch.nn.functional.normalize(torch.from_numpy(base_MD + noise_MD), dim=1).float()
    cosine_MM = (x_MD @ x_MD.T).numpy()
    assert cosine_MM[:20, :20].min() > cosine_MM[:20, 20:].max() > 0.9
    pairs = _similar_pairs(x_MD, 0.9, IndexOptions())
    near = pairs.rows_P2[: pairs.at_least(0.9)]
    graph = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), (40, 40))
    assert connected_components(graph, directed=False)[0] == 1
    across = near[(near[:, 0] < 20) & (near[:, 1] >= 20)]
    assert 1 <= len(across) <= 40, "of two sets the most alike pair of a block is enough"
    assert np.allclose(pairs.cosine_P, cosine_MM[pairs.rows_P2[:, 0], pairs.rows_P2[:, 1]], atol=1e-5)
