"""Convolutions beside PyTorch Geometric's, which count the self-loops of a graph on the device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import GATConv, GCNConv

from sensorium.modalities.graph.encoders.dmpnn import DMPNN, DirectedPass
from sensorium.modalities.graph.encoders.gat import GATLayer
from sensorium.modalities.graph.encoders.gcn import GCNLayer
from sensorium.modalities.graph.encoders.gin import GINLayer
from sensorium.modalities.graph.encoders.gps import GPSLayer
from sensorium.modalities.graph.encoders.message_passing import MessageGraph
from sensorium.modalities.graph.encoders.pool import Pool
from sensorium.modalities.graph.layout import RowLayout
from tests.modalities.graph.graphs import batches, fitted

WIDTH = 8
LAYERS = {
    "gin": lambda: GINLayer(WIDTH, edges=False),
    "gine": lambda: GINLayer(WIDTH, edges=True),
    "gcn": lambda: GCNLayer(WIDTH),
    "gat": lambda: GATLayer(WIDTH, 2),
    "dmpnn": lambda: DirectedPass(WIDTH),
    "gps": lambda: GPSLayer(WIDTH, 2, 0.0),
}


def with_features(batch):
    """Return random node features of a batch, and its graph with random edge features."""
    rng = torch.Generator().manual_seed(0)
    x, edges = (torch.randn(n, WIDTH, generator=rng) for n in (len(batch.x), batch.edge_index.shape[1]))
    return x, MessageGraph(batch.edge_index, edges, batch.layout)


@settings(max_examples=30, deadline=None)
@given(batches())
def test_graph_attention_is_that_of_pytorch_geometric(batch):
    """Its own self-loops replace those that a graph has, parallel edges count twice."""
    torch.manual_seed(0)
    layer, (x, graph) = GATLayer(WIDTH, 2), with_features(batch)
    theirs = GATConv(WIDTH, WIDTH // 2, 2, edge_dim=WIDTH, fill_value="mean")
    theirs.load_state_dict(layer.conv.state_dict())
    torch.testing.assert_close(layer.conv(x, graph), theirs(x, graph.edge_index, graph.edge_EH))


@settings(max_examples=30, deadline=None)
@given(batches())
def test_graph_convolution_is_that_of_pytorch_geometric(batch):
    torch.manual_seed(0)
    layer, (x, graph) = GCNLayer(WIDTH), with_features(batch)
    theirs = GCNConv(WIDTH, WIDTH)
    theirs.load_state_dict(layer.conv.state_dict())
    torch.testing.assert_close(layer.conv(x, graph), theirs(x, graph.edge_index))


def directed_in_loops(encoder, x, graph):
    """Nodes by equations 2 to 6 of Yang et al. 2019, an edge at a time, in fp64: no message returns along its edge."""
    edges = list(zip(*graph.edge_index.tolist(), strict=True))
    first = [encoder.start.map(torch.cat([x[v], f])).relu() for (v, _), f in zip(edges, graph.edge_EH, strict=True)]
    states = first
    for layer in encoder.layers:
        new = []
        for (v, w), start in zip(edges, first, strict=True):
            into = [h for (k, end), h in zip(edges, states, strict=True) if end == v and k != w]
            new.append((start + layer.map(sum(into, torch.zeros(WIDTH).double()))).relu())
        states = new
    nodes = []
    for v in range(len(x)):
        into = sum((h for (_, end), h in zip(edges, states, strict=True) if end == v), torch.zeros(WIDTH).double())
        nodes.append(encoder.readout.map(torch.cat([x[v], into])).relu())
    return torch.stack(nodes)


@settings(max_examples=20, deadline=None)
@given(batches(most=5))
def test_directed_message_passing_is_that_of_its_paper(batch):
    """With self-loops, parallel edges, and edges of one direction alone."""
    torch.manual_seed(0)
    encoder, (x, graph) = DMPNN(fitted(), width=WIDTH, depth=3).double(), with_features(batch)
    x, graph = x.double(), MessageGraph(graph.edge_index, graph.edge_EH.double(), graph.layout)
    torch.testing.assert_close(encoder.pass_messages(x, graph), directed_in_loops(encoder, x, graph))


def test_a_message_does_not_return_along_a_bond():
    """On a path of two nodes nothing arrives beyond the first states, however many steps there are."""
    torch.manual_seed(0)
    encoder, x = DMPNN(fitted(), width=WIDTH, depth=4), torch.randn(2, WIDTH)
    graph = MessageGraph(
        torch.tensor([[0, 1], [1, 0]]), torch.randn(2, WIDTH), RowLayout.of_sizes(np.array([2]), "cpu")
    )
    for layer in encoder.layers:
        torch.nn.init.zeros_(layer.map.bias)
    alone = encoder.pass_messages(x, graph)
    for layer in encoder.layers:
        torch.nn.init.ones_(layer.map.weight)
    torch.testing.assert_close(encoder.pass_messages(x, graph), alone)


aten = torch.ops.aten
ATOMIC = (aten.index_add, aten.index_add_, aten.scatter_add, aten.scatter_add_)


class AtomicSums(TorchDispatchMode):
    """Adds rows to sums one at a time, each sum rounded to its dtype, as the atomic operations of CUDA do."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket not in ATOMIC:
            return func(*args, **(kwargs or {}))
        out, dim, index, rows = args
        for one_index, one_row in zip(index.split(1), rows.split(1), strict=True):
            out = func(out, dim, one_index, one_row)
        return out


def test_atomic_sums_in_half_precision_lose():
    index, ones = torch.zeros(1000, dtype=torch.int64), torch.ones(1000, 1, dtype=torch.bfloat16)
    with AtomicSums():
        assert ones.new_zeros(1, 1).index_add(0, index, ones).item() == 256


def star(leaves):
    """Return the graph of a node with many neighbors, with features of ones."""
    hub, others = torch.zeros(leaves, dtype=torch.int64), torch.arange(1, leaves + 1)
    edge_index = torch.cat([torch.stack([others, hub]), torch.stack([hub, others])], dim=1)
    return MessageGraph(edge_index, torch.ones(2 * leaves, WIDTH), RowLayout.of_sizes(np.array([leaves + 1]), "cpu"))


def encoded(module, x, place, precision):
    """Return what a module makes of node features in a precision, and the gradient of its sum to them."""
    x = x.to(precision).requires_grad_()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32), AtomicSums():
        out = module(x, place)
        out.float().sum().backward()
    return out.detach().float(), x.grad.float()


@pytest.mark.parametrize("name", LAYERS)
def test_a_thousand_neighbors_add_up_under_autocast(name):
    torch.manual_seed(0)
    layer, graph = LAYERS[name]().eval(), star(1000)
    x = 1 + 0.1 * torch.randn(1001, WIDTH)
    pairs = zip(*(encoded(layer, x, graph, p) for p in (torch.bfloat16, torch.float32)), strict=True)
    for found, exact in pairs:
        assert (found - exact)[0].norm() < 0.05 * exact[0].norm()


@pytest.mark.parametrize("how", ["sum", "mean", "attention"])
def test_a_thousand_nodes_are_pooled_in_fp32(how):
    torch.manual_seed(0)
    pool, layout = Pool(how, WIDTH), RowLayout.of_sizes(np.array([1000]), "cpu")
    x = torch.ones(1000, WIDTH)
    (found, _), (exact, _) = (encoded(pool, x, layout, p) for p in (torch.bfloat16, torch.float32))
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-3)
