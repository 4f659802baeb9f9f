"""Where a node stands, told by the edges alone.

Letters as in `sensorium.modalities.graph.batch`; S numbers that say it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array, eye_array
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch

BLOCK = 64
"""Of each graph so many nodes are walked from at once."""
DENSE = 400
"""Up to so many nodes a graph's Laplacian is decomposed whole."""


class Positions(nn.Module):
    """A linear map of what says where a node stands; for "none" there is nothing to map, and all stand at zero.

    Args:
        kind: "none", "walk" or "laplacian".
        steps: S, how many numbers say it.
        dim: D, width of the tokens.
    """

    def __init__(self, kind: str, steps: int, dim: int) -> None:
        super().__init__()
        if steps < 1:
            raise RecipeError(f"Positions of nodes take at least one step, not {steps}.")
        self.kind, self.steps = kind, steps
        self.map = nn.Linear(steps, dim, bias=False) if kind != "none" else None

    def forward(self, batch: GraphBatch, x_BTD: Tensor) -> Tensor:
        """Return positions (B, T, D), or (1, T, D) of zeros."""
        if self.map is None:
            return torch.zeros_like(x_BTD[:1])
        where_NS = returns(batch, self.steps) if self.kind == "walk" else eigenvectors(batch, self.steps)
        if self.kind == "laplacian" and self.training:
            sign_BS = torch.randint(0, 2, (len(batch), self.steps), device=batch.device) * 2 - 1
            where_NS = where_NS * sign_BS[batch.graph]
        return batch.padded(self.map(where_NS.to(x_BTD.dtype)))[0]


def walked(batch: GraphBatch, chance_NK: Tensor, share_E: Tensor) -> Tensor:
    """Return where K walkers are a step later: each edge carries its share of who stands at its start."""
    source_E, sink_E = batch.edge_index
    return torch.zeros_like(chance_NK).index_add(0, sink_E, chance_NK[source_E] * share_E[:, None])


def leaving_shares(batch: GraphBatch) -> Tensor:
    """Return by which chance a walker at its start takes an edge: float (E,), one over the edges that leave it."""
    degree_N = batch.edge_index[0].bincount(minlength=len(batch.x))
    return degree_N[batch.edge_index[0]].float().reciprocal()


def returns(batch: GraphBatch, steps: int) -> Tensor:
    """Return the chance that a walk from a node is back after 1 to `steps` steps, float (N, S) (Dwivedi et al. 2022).

    The k-th nodes of all graphs are walked from at once, so that one large graph among small ones costs no more than
    by itself.
    """
    out_NS = torch.zeros(len(batch.x), steps, device=batch.device)
    for start in range(0, int(batch.sizes.max()) if len(batch) else 0, BLOCK):
        large_B = batch.sizes > start
        part = batch if large_B.all() else batch.select(large_B)
        own_N = (part.places >= start) & (part.places < start + BLOCK)
        column_M = part.places[own_N] - start
        chance_NK = torch.zeros(len(part.x), BLOCK, device=batch.device)
        chance_NK[own_N, column_M] = 1.0
        share_E = leaving_shares(part)
        mine_N = large_B[batch.graph] & (batch.places >= start) & (batch.places < start + BLOCK)
        columns = []
        for _ in range(steps):
            chance_NK = walked(part, chance_NK, share_E)
            columns.append(chance_NK[own_N, column_M])
        out_NS[mine_N] = torch.stack(columns, dim=1)
    return out_NS


def eigenvectors(batch: GraphBatch, count: int) -> Tensor:
    """Return the eigenvectors of each graph's normalized Laplacian after the first, smallest eigenvalue first.

    float (N, S), each of mean square 1 and of a sign that its largest entry decides; zero where a graph has too few
    nodes (Dwivedi et al. 2020). Edges count both ways.
    """
    made = [_eigenvectors(g.edge_index.numpy(), len(g), count) for g in batch.graphs()]
    return torch.from_numpy(np.concatenate(made)).float().to(batch.device)


def _eigenvectors(edges_2E: np.ndarray, nodes: int, count: int) -> np.ndarray:
    out_NS = np.zeros((nodes, count))
    if nodes < 2:
        return out_NS
    links = coo_array((np.ones(edges_2E.shape[1]), edges_2E), (nodes, nodes)).tocsr()
    links = links + links.T
    links.data[:] = 1.0
    scale_N = 1 / np.sqrt(np.maximum(links.sum(1), 1))
    laplacian = eye_array(nodes) - links * scale_N[:, None] * scale_N
    if nodes <= max(DENSE, count + 2):
        vectors_NS = np.linalg.eigh(laplacian.toarray())[1][:, 1 : count + 1]
    else:
        first_N = np.random.default_rng(0).standard_normal(nodes)
        found, vectors_NS = eigsh(laplacian.tocsc(), count + 1, sigma=-1e-3, which="LM", v0=first_N)
        vectors_NS = vectors_NS[:, np.argsort(found)][:, 1:]
    peaks_S = vectors_NS[np.abs(vectors_NS).argmax(0), np.arange(vectors_NS.shape[1])]
    out_NS[:, : vectors_NS.shape[1]] = vectors_NS * np.sign(peaks_S) * np.sqrt(nodes)
    return out_NS
