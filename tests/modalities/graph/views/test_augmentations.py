"""Properties of every augmentation, on any graphs; and known faults of other implementations."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium import RowStreams
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.views import augmentations
from sensorium.modalities.graph.views.subgraphs import (
    ego_net,
    hop_distances,
    neighborhood_and_context,
    ppr_diffusion,
    random_walk_subgraph,
)
from sensorium.testing.equality import same
from tests.modalities.graph.graphs import batches, consistent, fitted, ring, sample_batch

SCHEMA = fitted().schema
AUGMENTATIONS = {
    "node-dropping": lambda b, ratio, draws: augmentations.drop_nodes(b, ratio, draws, False),
    "edge-perturbation": lambda b, ratio, draws: augmentations.perturb_edges(b, SCHEMA, ratio, ratio, draws),
    "feature-masking": lambda b, ratio, draws: augmentations.mask_features(b, SCHEMA, ratio, ratio, draws),
    "subgraph": lambda b, ratio, draws: random_walk_subgraph(b, ratio, 50, draws, False),
    "ego-net": lambda b, ratio, draws: ego_net(b, round(3 * ratio), draws, False),
    "ppr-diffusion": lambda b, ratio, draws: ppr_diffusion(b, SCHEMA, 0.2, 3, 10),
}
many = settings(max_examples=40, deadline=None)


def draws(batch, seed=0):
    return RowStreams(len(batch), torch.Generator().manual_seed(seed))


def rings(*sizes):
    modality = fitted([ring(9)])
    return modality.collate([modality.decode(ring(size)) for size in sizes]), modality.schema


def pairs_of(batch):
    """The pairs of neighbors, self-loops included."""
    return {tuple(sorted(pair)) for pair in batch.edge_index.T.tolist()}


@many
@given(
    batches(), st.sampled_from(sorted(AUGMENTATIONS)), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(0, 99)
)
def test_no_graph_is_lost_and_the_info_marks_what_is_kept(batch, name, ratio, seed):
    augmented = AUGMENTATIONS[name](batch, ratio, draws(batch, seed))
    consistent(augmented.batch)
    assert len(augmented.batch) == len(batch)
    assert (augmented.batch.sizes >= 1).all()
    info = augmented.info(batch)
    assert info["kept_nodes"].sum(1).tolist() == augmented.batch.sizes.tolist()
    kept = torch.cat([row[:size] for row, size in zip(info["kept_nodes"], batch.sizes.tolist(), strict=True)])
    masked = torch.cat([row[:size] for row, size in zip(info["masked_nodes"], batch.sizes.tolist(), strict=True)])
    if name == "feature-masking":
        assert (augmented.batch.x[masked] == torch.tensor(SCHEMA.node_categories)).all()
    else:
        assert torch.equal(augmented.batch.x, batch.x[kept])
    assert int(info["kept_edges"].sum()) <= batch.edge_index.shape[1]


@many
@given(batches(), st.sampled_from(["node-dropping", "edge-perturbation", "feature-masking"]), st.integers(0, 99))
def test_a_ratio_of_zero_changes_nothing(batch, name, seed):
    found = AUGMENTATIONS[name](batch, 0.0, draws(batch, seed)).batch
    for part in ("x", "values", "edge_index", "edge_attr", "edge_values", "sizes"):
        assert same(getattr(found, part), getattr(batch, part)), part


@many
@given(batches(), st.integers(0, 99))
def test_both_directions_of_an_edge_are_dropped_together(batch, seed):
    augmented = augmentations.perturb_edges(batch, SCHEMA, 0.5, 0.0, draws(batch, seed))
    left, gone = pairs_of(augmented.batch), pairs_of(batch) - pairs_of(augmented.batch)
    assert left <= pairs_of(batch)
    assert not left & gone
    for pair, kept in zip(batch.edge_index.T.tolist(), augmented.kept_E.tolist(), strict=True):
        assert (tuple(sorted(pair)) in left) == kept


@many
@given(batches(), st.integers(0, 99))
def test_added_edges_are_undirected_non_edges_with_masked_features(batch, seed):
    found = augmentations.perturb_edges(batch, SCHEMA, 0.0, 0.8, draws(batch, seed)).batch
    new = (found.edge_attr == torch.tensor(SCHEMA.edge_categories)).all(1)
    new_pairs = {tuple(pair) for pair in found.edge_index[:, new].T.tolist()}
    assert new_pairs == {(b, a) for a, b in new_pairs}
    assert all(a != b for a, b in new_pairs)
    assert not {tuple(sorted(pair)) for pair in new_pairs} & pairs_of(batch)
    assert not found.edge_values[new].any()


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_the_dropped_fraction_is_unbiased_on_small_graphs(size):
    """int(n / 10) drops no node of a graph below ten nodes; here the expectation is right for every size."""
    batch, _ = rings(*[size] * 4000)
    lost = (batch.sizes - augmentations.drop_nodes(batch, 0.1, draws(batch), False).batch.sizes).mean()
    assert abs(float(lost) - (0.0 if size == 1 else 0.1 * size)) < 0.03


def test_dropping_all_nodes_keeps_one_and_the_root_of_a_rooted_graph():
    batch, _ = rings(5, 1, 7)
    assert augmentations.drop_nodes(batch, 1.0, draws(batch), False).batch.sizes.tolist() == [1, 1, 1]
    for seed in range(5):
        for augmented in (
            augmentations.drop_nodes(batch, 0.9, draws(batch, seed), True),
            random_walk_subgraph(batch, 0.1, 9, draws(batch, seed), True),
            ego_net(batch, 0, draws(batch, seed), True),
        ):
            assert augmented.kept_N[batch.first_node].all()


def test_every_graph_has_its_own_draws():
    batch, _ = rings(*[8] * 200)
    kept_BT = augmentations.drop_nodes(batch, 0.5, draws(batch), False).info(batch)["kept_nodes"]
    assert len({tuple(row) for row in kept_BT.tolist()}) > 40


@many
@given(batches(), st.sampled_from([0.2, 0.5, 1.0]), st.integers(0, 99))
def test_a_random_walk_subgraph_is_connected(batch, ratio, seed):
    part = random_walk_subgraph(batch, ratio, 200, draws(batch, seed), False).batch
    distance_N = hop_distances(part, part.first_node, len(part.x))
    assert (distance_N <= len(part.x)).all()


def test_a_random_walk_goes_beyond_the_first_neighbors():
    """GraphCL's code discards the visited nodes, so that it keeps the neighbors of the start alone."""
    batch, _ = rings(40, 100, 3, 1)
    part = random_walk_subgraph(batch, 0.5, 8192, draws(batch), False).batch
    assert part.sizes.tolist()[:2] == [20, 50]
    assert part.sizes[3] == 1


def test_a_random_walk_subgraph_has_its_ratio_of_nodes():
    batch, _ = rings(*[11] * 2000)
    sizes = random_walk_subgraph(batch, 0.5, 8192, draws(batch), False).batch.sizes
    assert set(sizes.tolist()) == {5, 6}
    assert abs(sizes.mean() - 5.5) < 0.05


def test_an_ego_net_is_the_k_hop_neighborhood():
    batch, _ = rings(9, 3, 1)
    assert ego_net(batch, 2, draws(batch), False).batch.sizes.tolist() == [5, 3, 1]


def test_neighborhood_and_context_share_their_anchors():
    batch, _ = rings(20, 5, 1)
    (neighborhood, root_N), (context, shared_N) = neighborhood_and_context(batch, 3, 2, 5, draws(batch), False)
    assert neighborhood.batch.sizes.tolist() == [7, 5, 1]
    assert context.batch.sizes.tolist() == [8, 2, 1]
    assert torch.bincount(neighborhood.batch.graph_index[root_N]).tolist() == [1, 1, 1]
    assert torch.bincount(context.batch.graph_index[shared_N]).tolist() == [4, 2, 1]


def test_ppr_diffusion_is_personalized_pagerank():
    batch, schema = rings(9)
    n, alpha = 9, 0.2
    adjacency = torch.eye(n).double()
    adjacency[batch.edge_index[0], batch.edge_index[1]] = 1
    scale = adjacency.sum(1).rsqrt()
    ppr = alpha * torch.linalg.inv(torch.eye(n).double() - (1 - alpha) * scale[:, None] * adjacency * scale)
    ppr.fill_diagonal_(0)
    found = ppr_diffusion(batch, schema, alpha, 4, 60).batch
    expected = {(int(a), b) for b in range(n) for a in ppr[:, b].topk(4).indices}
    assert {tuple(pair) for pair in found.edge_index.T.tolist()} == expected


def test_ppr_diffusion_of_a_batch_is_that_of_each_graph():
    batch, schema = rings(70, 1, 5, 130)
    whole = ppr_diffusion(batch, schema, 0.3, 2, 20).batch
    parts = [ppr_diffusion(batch.select(torch.tensor([i])), schema, 0.3, 2, 20).batch for i in range(4)]
    joined = GraphBatch.cat(parts)
    assert whole.edge_sizes.tolist() == joined.edge_sizes.tolist()
    assert pairs_of(whole) == pairs_of(joined)


def test_a_feature_is_masked_in_all_nodes_of_a_graph():
    batch, schema = rings(*[6] * 300)
    found = augmentations.mask_features(batch, schema, 0.0, 0.5, draws(batch)).batch
    masked_BT, _ = found.padded(found.x[:, 0] == schema.node_categories[0])
    assert set(masked_BT.sum(1).tolist()) == {0, 6}
    assert 0.4 < float(masked_BT[:, 0].float().mean()) < 0.6


def test_a_large_graph_among_small_ones():
    batch, schema = rings(10_000, 5, 1, 8)
    for augmented in (
        augmentations.drop_nodes(batch, 0.2, draws(batch), False),
        augmentations.perturb_edges(batch, schema, 0.2, 0.2, draws(batch)),
        random_walk_subgraph(batch, 0.2, 512, draws(batch), False),
    ):
        consistent(augmented.batch)
    assert ppr_diffusion(batch.select(torch.tensor([1, 2, 3])), schema, 0.2, 2, 5).batch.sizes.tolist() == [5, 1, 8]


def test_an_empty_batch_has_views():
    nothing = sample_batch().select(torch.zeros(0, dtype=torch.int64))
    for name, augmented in AUGMENTATIONS.items():
        assert len(augmented(nothing, 0.5, draws(nothing)).batch) == 0, name
