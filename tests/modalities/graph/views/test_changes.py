"""What every change of graphs holds to, on any graphs; and where others go wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.views import changes as made
from sensorium.modalities.graph.views.subgraphs import diffuse, distances, hops, surroundings, walk
from tests.modalities.graph.graphs import batches, consistent, fitted, ring, sample_batch

SCHEMA = fitted().schema
CHANGES = {
    "node-drop": lambda b, share, rng: made.drop_nodes(b, share, rng, False),
    "edges": lambda b, share, rng: made.change_edges(b, SCHEMA, share, share, rng),
    "hide": lambda b, share, rng: made.hide(b, SCHEMA, share, share, rng),
    "walk": lambda b, share, rng: walk(b, share, 50, rng, False),
    "hops": lambda b, share, rng: hops(b, round(3 * share), rng, False),
    "diffusion": lambda b, share, rng: diffuse(b, SCHEMA, 0.2, 3, 10),
}
many = settings(max_examples=40, deadline=None)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def rings(*sizes):
    modality = fitted([ring(9)])
    return modality.collate([modality.decode(ring(size)) for size in sizes]), modality.schema


def pairs_of(batch):
    """The pairs of neighbors, self-loops included."""
    return {tuple(sorted(pair)) for pair in batch.edge_index.T.tolist()}


@many
@given(batches(), st.sampled_from(sorted(CHANGES)), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(0, 99))
def test_no_graph_is_lost_and_the_info_says_what_is_kept(batch, name, share, seed):
    change = CHANGES[name](batch, share, rng(seed))
    consistent(change.batch)
    assert len(change.batch) == len(batch)
    assert (change.batch.sizes >= 1).all()
    info = change.info(batch)
    assert torch.equal(info["nodes"].sum(1), change.batch.sizes)
    kept = torch.cat([row[:size] for row, size in zip(info["nodes"], batch.sizes.tolist(), strict=True)])
    hidden = torch.cat([row[:size] for row, size in zip(info["masked_attributes"], batch.sizes.tolist(), strict=True)])
    if name == "hide":
        assert (change.batch.x[hidden] == torch.tensor(SCHEMA.nodes)).all()
    else:
        assert torch.equal(change.batch.x, batch.x[kept])
    assert int(info["edges"].sum()) <= batch.edge_index.shape[1]


@many
@given(batches(), st.sampled_from(["node-drop", "edges", "hide"]), st.integers(0, 99))
def test_a_share_of_nothing_changes_nothing(batch, name, seed):
    found = CHANGES[name](batch, 0.0, rng(seed)).batch
    for part in ("x", "values", "edge_index", "edge_attr", "edge_values", "sizes"):
        assert torch.equal(getattr(found, part), getattr(batch, part)), part


@many
@given(batches(), st.integers(0, 99))
def test_what_leads_there_and_back_leaves_together(batch, seed):
    change = made.change_edges(batch, SCHEMA, 0.5, 0.0, rng(seed))
    left, gone = pairs_of(change.batch), pairs_of(batch) - pairs_of(change.batch)
    assert left <= pairs_of(batch)
    assert not left & gone
    for pair, kept in zip(batch.edge_index.T.tolist(), change.edges_E.tolist(), strict=True):
        assert (tuple(sorted(pair)) in left) == kept


@many
@given(batches(), st.integers(0, 99))
def test_new_edges_join_strangers_both_ways_and_carry_nothing(batch, seed):
    found = made.change_edges(batch, SCHEMA, 0.0, 0.8, rng(seed)).batch
    new = (found.edge_attr == torch.tensor(SCHEMA.edges)).all(1)
    made_pairs = {tuple(pair) for pair in found.edge_index[:, new].T.tolist()}
    assert made_pairs == {(b, a) for a, b in made_pairs}
    assert all(a != b for a, b in made_pairs)
    assert not {tuple(sorted(pair)) for pair in made_pairs} & pairs_of(batch)
    assert not found.edge_values[new].any()


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_tenth_of_a_small_graph_leaves_one_time_in_so_many(size):
    """int(n / 10) drops nothing of a graph below ten nodes; here the mean is right for every size."""
    batch, _ = rings(*[size] * 4000)
    lost = (batch.sizes - made.drop_nodes(batch, 0.1, rng(), False).batch.sizes).float().mean()
    assert abs(float(lost) - (0.0 if size == 1 else 0.1 * size)) < 0.03


def test_dropping_all_leaves_one_and_a_root_where_there_is_one():
    batch, _ = rings(5, 1, 7)
    assert made.drop_nodes(batch, 1.0, rng(), False).batch.sizes.tolist() == [1, 1, 1]
    for seed in range(5):
        for change in (
            made.drop_nodes(batch, 0.9, rng(seed), True),
            walk(batch, 0.1, 9, rng(seed), True),
            hops(batch, 0, rng(seed), True),
        ):
            assert change.nodes_N[batch.firsts].all()


def test_every_graph_draws_for_itself():
    batch, _ = rings(*[8] * 200)
    kept_BT = made.drop_nodes(batch, 0.5, rng(), False).info(batch)["nodes"]
    assert len({tuple(row) for row in kept_BT.tolist()}) > 40


@many
@given(batches(), st.sampled_from([0.2, 0.5, 1.0]), st.integers(0, 99))
def test_what_a_walk_meets_hangs_together(batch, share, seed):
    part = walk(batch, share, 200, rng(seed), False).batch
    near_N = distances(part, part.firsts, len(part.x))
    assert (near_N <= len(part.x)).all()


def test_a_walk_leaves_its_start():
    """GraphCL's walk threw away what it met, so that it saw the start's neighbors alone."""
    batch, _ = rings(40, 100, 3, 1)
    part = walk(batch, 0.5, 512, rng(), False).batch
    assert part.sizes.tolist()[:2] == [20, 50]
    assert part.sizes[3] == 1


def test_a_walk_keeps_to_its_share():
    batch, _ = rings(*[11] * 2000)
    sizes = walk(batch, 0.5, 512, rng(), False).batch.sizes
    assert set(sizes.tolist()) == {5, 6}
    assert abs(float(sizes.float().mean()) - 5.5) < 0.05


def test_hops_keep_what_is_so_near():
    batch, _ = rings(9, 3, 1)
    assert hops(batch, 2, rng(), False).batch.sizes.tolist() == [5, 3, 1]


def test_surroundings_share_their_anchors():
    batch, _ = rings(20, 5, 1)
    (near, root_N), (around, shared_N) = surroundings(batch, 3, (2, 5), rng(), False)
    assert near.batch.sizes.tolist() == [7, 5, 1]
    assert around.batch.sizes.tolist() == [8, 2, 1]
    assert torch.bincount(near.batch.graph[root_N]).tolist() == [1, 1, 1]
    assert torch.bincount(around.batch.graph[shared_N]).tolist() == [4, 2, 1]


def test_diffusion_is_personalised_page_rank():
    batch, schema = rings(9)
    n, restart = 9, 0.2
    links = torch.eye(n).double()
    links[batch.edge_index[0], batch.edge_index[1]] = 1
    root = links.sum(1).rsqrt()
    mass = restart * torch.linalg.inv(torch.eye(n).double() - (1 - restart) * root[:, None] * links * root)
    mass.fill_diagonal_(0)
    found = diffuse(batch, schema, restart, 4, 60).batch
    by_hand = {(int(a), b) for b in range(n) for a in mass[:, b].topk(4).indices}
    assert {tuple(pair) for pair in found.edge_index.T.tolist()} == by_hand


def test_diffusion_of_many_is_that_of_each():
    batch, schema = rings(70, 1, 5, 130)
    whole = diffuse(batch, schema, 0.3, 2, 20).batch
    parts = [diffuse(batch.select(torch.tensor([i])), schema, 0.3, 2, 20).batch for i in range(4)]
    joined = GraphBatch.cat(parts)
    assert torch.equal(whole.edge_sizes, joined.edge_sizes)
    assert pairs_of(whole) == pairs_of(joined)


def test_columns_are_hidden_in_all_nodes_of_a_graph():
    batch, schema = rings(*[6] * 300)
    found = made.hide(batch, schema, 0.0, 0.5, rng()).batch
    hidden_BT, _ = found.padded(found.x[:, 0] == schema.nodes[0])
    assert set(hidden_BT.sum(1).tolist()) == {0, 6}
    assert 0.4 < float(hidden_BT[:, 0].float().mean()) < 0.6


def test_a_large_graph_among_small_ones_costs_little():
    batch, schema = rings(10_000, 5, 1, 8)
    for change in (
        made.drop_nodes(batch, 0.2, rng(), False),
        made.change_edges(batch, schema, 0.2, 0.2, rng()),
        walk(batch, 0.2, 512, rng(), False),
    ):
        consistent(change.batch)
    assert diffuse(batch.select(torch.tensor([1, 2, 3])), schema, 0.2, 2, 5).batch.sizes.tolist() == [5, 1, 8]


def test_no_graphs_have_views_too():
    nothing = sample_batch().select(torch.zeros(0, dtype=torch.int64))
    for name, change in CHANGES.items():
        assert len(change(nothing, 0.5, rng()).batch) == 0, name
