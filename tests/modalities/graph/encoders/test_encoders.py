from dataclasses import replace

import numpy as np
import pytest
import torch

from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.encoders.dmpnn import DMPNN
from sensorium.modalities.graph.encoders.gat import GAT
from sensorium.modalities.graph.encoders.gcn import GCN
from sensorium.modalities.graph.encoders.gin import GIN, GINE
from sensorium.modalities.graph.encoders.gps import GPS, GlobalAttention
from sensorium.modalities.graph.encoders.pool import Pool
from sensorium.modalities.graph.encoders.positional_encoding import laplacian_eigenvectors, random_walk_encoding
from sensorium.modalities.graph.layout import RowLayout
from tests.modalities.graph.graphs import fitted, ring, sample_batch

ENCODERS = {
    "gin": lambda m, **o: GIN(m, width=8, depth=2, **o),
    "gine": lambda m, **o: GINE(m, width=8, depth=2, **o),
    "gcn": lambda m, **o: GCN(m, width=8, **o),
    "gat": lambda m, **o: GAT(m, width=8, heads=2, depth=2, **o),
    "dmpnn": lambda m, **o: DMPNN(m, width=8, depth=2, **o),
    "gps": lambda m, **o: GPS(m, width=8, heads=2, depth=2, **o),
}
WITHOUT_EDGES = ("gin", "gcn")


def made(name, seed=0, modality=None, **options):
    torch.manual_seed(seed)
    return ENCODERS[name](modality or fitted(), **options).eval()


def permuted(batch, order):
    """A batch of one graph with its nodes permuted."""
    index = order.argsort()
    edges = torch.randperm(batch.edge_index.shape[1], generator=torch.Generator().manual_seed(1))
    return GraphBatch(
        batch.x[order],
        batch.values[order],
        index[batch.edge_index][:, edges],
        batch.edge_attr[edges],
        batch.edge_values[edges],
        batch.sizes,
        batch.edge_sizes,
    )


@torch.no_grad()
@pytest.mark.parametrize("pool", ["sum", "mean", "max", "attention"])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_are_equivariant_to_node_order(name, pool):
    encoder, batch = made(name, pool=pool, positional_encoding="random-walk"), sample_batch().select(torch.tensor([5]))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    one, other = encoder(batch), encoder(permuted(batch, order))
    torch.testing.assert_close(one.pooled, other.pooled, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.tokens[:, order], other.tokens, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
def test_kept_nodes_are_encoded_as_their_induced_subgraph(name):
    """Encoding kept nodes is encoding the subgraph that they induce."""
    encoder, batch = made(name, positional_encoding="none"), sample_batch().select(torch.tensor([5, 4]))
    keep = torch.tensor([[7, 1, 3, 0, 2], [8, 5, 2, 1, 0]])
    kept = encoder.encode_tokens(encoder.tokenize(batch), keep)
    keep_N = torch.zeros(len(batch.x), dtype=torch.bool)
    keep_N[(keep + batch.first_node[:, None]).flatten()] = True
    alone = encoder(batch.subgraph(keep_N))
    torch.testing.assert_close(kept.pooled, alone.pooled, rtol=1e-4, atol=1e-5)
    order = keep.argsort(dim=1)
    torch.testing.assert_close(
        kept.tokens.gather(1, order[..., None].expand(-1, -1, encoder.dim)), alone.tokens, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
def test_edge_features_matter_to_the_encoders_that_read_them(name):
    encoder, batch = made(name), sample_batch()
    other = replace(batch, edge_attr=(batch.edge_attr + 1) % 3)
    same = torch.allclose(encoder(batch).pooled, encoder(other).pooled)
    assert same == (name in WITHOUT_EDGES)


@pytest.mark.parametrize("jk", ["last", "cat", "max"])
@pytest.mark.parametrize("name", ENCODERS)
def test_a_single_node_trains(name, jk):
    encoder = made(name, jk=jk).train()
    features = encoder(sample_batch().select(torch.tensor([1])))
    features.pooled.sum().backward()
    assert features.pooled.isfinite().all()
    assert features.pooled.shape == (1, encoder.dim)
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@torch.no_grad()
@pytest.mark.parametrize("name", ENCODERS)
def test_a_large_graph_among_small_ones(name):
    modality = fitted([ring(9)])
    graphs = [modality.decode(ring(size)) for size in (5, 10_000, 1, 2)]
    encoder = made(name, modality=modality, positional_encoding="none")
    together = encoder(modality.collate(graphs)).pooled
    assert together.isfinite().all()
    torch.testing.assert_close(together[:1], encoder(modality.collate(graphs[:1])).pooled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["none", "random-walk", "laplacian"])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_empty_batch_has_no_features(name, kind):
    encoder = made(name, positional_encoding=kind)
    assert encoder(sample_batch().select(torch.zeros(0, dtype=torch.int64))).pooled.shape == (0, encoder.dim)


def test_pooling():
    x = torch.tensor([[1.0, -2.0], [3.0, -4.0], [5.0, -7.0]])
    layout = RowLayout.of_sizes(np.array([2, 0, 1]), "cpu")
    expected = {
        "sum": [[4, -6], [0, 0], [5, -7]],
        "mean": [[2, -3], [0, 0], [5, -7]],
        "max": [[3, -2], [0, 0], [5, -7]],
        "first": [[1, -2], [0, 0], [5, -7]],
    }
    for how, values in expected.items():
        assert Pool(how, 2)(x, layout).tolist() == values, how
    attention = Pool("attention", 2)
    torch.nn.init.zeros_(attention.gate.weight)
    torch.testing.assert_close(attention(x, layout), torch.tensor(expected["mean"], dtype=torch.float))


def dense(graph):
    adjacency = torch.zeros(len(graph), len(graph), dtype=torch.float64)
    for a, b in graph.edge_index.T.tolist():
        adjacency[a, b] += 1
    return adjacency


def test_random_walk_encoding_is_the_diagonal_of_the_powers():
    modality = fitted([ring(4)])
    batch = modality.collate([modality.decode(ring(size)) for size in (5, 1, 150, 64, 65)])
    found = random_walk_encoding(batch, 6)
    for rows, graph in zip(found.split(batch.sizes.tolist()), batch.graphs(), strict=True):
        adjacency = dense(graph)
        step = adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)
        power, columns = torch.eye(len(graph)).double(), []
        for _ in range(6):
            power = power @ step
            columns.append(power.diagonal())
        torch.testing.assert_close(rows.double(), torch.stack(columns, 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [3, 30, 600])
def test_eigenvectors_solve_the_laplacian(size):
    path = ring(size)
    path.edge_index = torch.stack([torch.arange(size - 1), torch.arange(1, size)])
    modality = fitted([path])
    graph = modality.decode(path)
    found = laplacian_eigenvectors(modality.collate([graph]), 4).double()
    adjacency = dense(graph)
    root = adjacency.sum(1).rsqrt()
    laplacian = torch.eye(size).double() - root[:, None] * adjacency * root
    for k in range(min(4, size - 1)):
        vector = found[:, k] / found[:, k].norm()
        value = vector @ laplacian @ vector
        assert (laplacian @ vector - value * vector).norm() < 1e-2
        exact = torch.linalg.eigvalsh(laplacian)[k + 1]
        assert abs(value - exact) < 1e-4
    assert not found[:, size - 1 :].any()


def test_laplacian_signs_are_random_in_training_only():
    encoder, batch = made("gps", positional_encoding="laplacian"), sample_batch()
    torch.testing.assert_close(encoder(batch).pooled, encoder(batch).pooled)
    encoder.train()
    torch.manual_seed(0)
    assert not torch.allclose(encoder(batch).pooled, encoder(batch).pooled)


def test_global_attention_in_groups_is_exact():
    torch.manual_seed(0)
    layer, sizes = GlobalAttention(8, 2), np.array([3, 40, 1, 0, 7, 2500, 3])
    x, layout = torch.randn(sizes.sum(), 8), RowLayout.of_sizes(sizes, "cpu")
    assert len(layout.size_groups) == 2, "the largest graph attends by itself"
    for whole, rows, size in zip(layer(x, layout).split(sizes.tolist()), x.split(sizes.tolist()), sizes, strict=True):
        torch.testing.assert_close(whole, layer(rows, RowLayout.of_sizes(np.array([size]), "cpu")))


def test_invalid_options_are_refused():
    with pytest.raises(RecipeError, match="not divisible by its 4 heads"):
        GPS(fitted(), width=10, heads=4)
    with pytest.raises(RecipeError, match="'depth' of the graph encoder must be at least 1"):
        GIN(fitted(), depth=0)
    with pytest.raises(RecipeError, match="'pe_dim' of the graph encoder must be at least 1"):
        GIN(fitted(), positional_encoding="random-walk", pe_dim=0)


REACH = {"dmpnn": 2, "gps": 4}
"""Edges from which a layer receives messages: one away, two of directed messages, all of this ring by attention."""


@pytest.mark.parametrize("name", ENCODERS)
def test_a_token_mixer_is_one_layer(name):
    """A node changes with those whose messages its layer receives, and no other; every parameter learns."""
    modality, reach = fitted([ring(9)]), REACH.get(name, 1)
    encoder = made(name, modality=modality, positional_encoding="none")
    mixer, tokens = encoder.token_mixer(), encoder.tokenize(modality.collate([modality.decode(ring(9))]))
    mixer(tokens).square().sum().backward()
    assert all(p.grad is not None for p in mixer.parameters())
    mixer.eval()
    moved = replace(tokens, x=tokens.x.clone())
    moved.x[0, 4] += 1
    changed_T = (mixer(moved) != mixer(tokens)).any(-1)[0]
    assert changed_T.nonzero()[:, 0].tolist() == list(range(4 - reach, 5 + reach))
