"""Positional encodings of nodes: random walk and Laplacian eigenvectors.

Letters as in `sensorium.modalities.graph.batch`; S width of an encoding, K start nodes of random walks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from sensorium import to_device
from sensorium.errors import check_range
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.encoders.message_passing import sum_at
from sensorium.modalities.graph.layout import runs

BLOCK = 64
"""Number of start nodes per graph whose random walks are computed at once."""
DENSE = 400
"""Graphs of at most this many nodes have their Laplacian decomposed as a dense matrix."""

PositionalEncodingKind = Literal["none", "random-walk", "laplacian"]


class PositionalEncoding(nn.Module):
    """A linear map of a positional encoding; "none" has no parameters and returns zeros.

    Args:
        kind: "none", "random-walk" or "laplacian".
        steps: S, number of random-walk steps or of eigenvectors.
        dim: D, width of the tokens.
    """

    def __init__(self, kind: PositionalEncodingKind, steps: int, dim: int) -> None:
        super().__init__()
        check_range("graph encoder", "[1, inf)", pe_dim=steps)
        self.kind, self.steps = kind, steps
        self.map = nn.Linear(steps, dim, bias=False) if kind != "none" else None

    def forward(self, batch: GraphBatch, x_BTD: Tensor) -> Tensor:
        """Return positional encodings (B, T, D), or (1, T, D) of zeros."""
        if self.map is None:
            return torch.zeros_like(x_BTD[:1])
        encoding = random_walk_encoding if self.kind == "random-walk" else laplacian_eigenvectors
        pe_NS = encoding(batch, self.steps)
        if self.kind == "laplacian" and self.training:
            sign_BS = torch.randint(0, 2, (len(batch), self.steps), device=batch.device) * 2 - 1
            pe_NS = pe_NS * sign_BS[batch.graph_index]
        return batch.padded(self.map(pe_NS.to(x_BTD.dtype)))[0]


def random_walk_encoding(batch: GraphBatch, steps: int) -> Tensor:
    """Return the probability that a random walk is back at its node after 1 to `steps` steps, float (N, S).

    Dwivedi et al. 2022. Walks start at the k-th nodes of all graphs at once, so that one large graph among small ones
    costs no more than by itself.
    """
    out_NS = torch.zeros(len(batch.x), steps, device=batch.device)
    for start in range(0, batch.sizes.max(initial=0), BLOCK):
        large = np.flatnonzero(batch.sizes > start)
        rows_M, returns_MS = _return_probabilities(batch, large, start, steps)
        out_NS = out_NS.index_copy(0, rows_M, returns_MS)
    return out_NS


def _return_probabilities(batch: GraphBatch, graphs: np.ndarray, start: int, steps: int) -> tuple[Tensor, Tensor]:
    """Return at most `BLOCK` nodes of some graphs, from index `start` on, and their return probabilities (M, S)."""
    sizes, edge_sizes = batch.sizes[graphs], batch.edge_sizes[graphs]
    first, first_of_all = sizes.cumsum() - sizes, (batch.sizes.cumsum() - batch.sizes)[graphs]
    first_edge = (batch.edge_sizes.cumsum() - batch.edge_sizes)[graphs]
    counts = np.minimum(sizes - start, BLOCK)
    rows_M, node_M, column_M, edge_E, shift_E = to_device(
        [
            runs(first_of_all + start, counts),
            runs(first + start, counts),
            runs(np.zeros_like(counts), counts),
            runs(first_edge, edge_sizes),
            (first - first_of_all).repeat(edge_sizes),
        ],
        batch.device,
    )
    source_E, target_E = batch.edge_index[:, edge_E] + shift_E
    p_NK = torch.zeros(sizes.sum(), BLOCK, device=batch.device)
    p_NK = p_NK.index_put((node_M, column_M), p_NK.new_ones(len(node_M)))
    degree_N = sum_at(source_E, p_NK.new_ones(len(source_E)), len(p_NK))
    transition_E1 = degree_N[source_E].reciprocal()[:, None]
    columns = []
    for _ in range(steps):
        p_NK = sum_at(target_E, p_NK[source_E] * transition_E1, len(p_NK))
        columns.append(p_NK[node_M, column_M])
    return rows_M, torch.stack(columns, dim=1)


def laplacian_eigenvectors(batch: GraphBatch, count: int) -> Tensor:
    """Return the eigenvectors of each graph's normalized Laplacian, smallest eigenvalue first, the first left out.

    float (N, S), each of mean square 1 and with its largest entry positive; zero where a graph has too few nodes
    (Dwivedi et al. 2020). Edges are taken as undirected.
    """
    found = [_eigenvectors(g.edge_index.numpy(), len(g), count) for g in batch.graphs()]
    return to_device([np.concatenate([np.zeros((0, count)), *found]).astype(np.float32)], batch.device)[0]


def _eigenvectors(edges_2E: np.ndarray, nodes: int, count: int) -> np.ndarray:
    out_NS = np.zeros((nodes, count))
    if nodes < 2:
        return out_NS
    adjacency = coo_array((np.ones(edges_2E.shape[1]), edges_2E), (nodes, nodes)).tocsr()
    adjacency = adjacency + adjacency.T
    adjacency.data[:] = 1.0
    scale_N = 1 / np.sqrt(np.maximum(adjacency.sum(1), 1))
    laplacian = eye_array(nodes) - adjacency * scale_N[:, None] * scale_N
    if nodes <= max(DENSE, count + 2):
        vectors_NS = np.linalg.eigh(laplacian.toarray())[1][:, 1 : count + 1]
    else:
        start_N = np.random.default_rng(0).standard_normal(nodes)
        values_S, vectors_NS = eigsh(laplacian.tocsc(), count + 1, sigma=-1e-3, which="LM", v0=start_N)
        vectors_NS = vectors_NS[:, np.argsort(values_S)][:, 1:]
    peaks_S = vectors_NS[np.abs(vectors_NS).argmax(0), np.arange(vectors_NS.shape[1])]
    out_NS[:, : vectors_NS.shape[1]] = vectors_NS * np.sign(peaks_S) * np.sqrt(nodes)
    return out_NS
