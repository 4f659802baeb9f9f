"""Views of molecules by their BRICS motifs.

All is computed on the host. Letters: B molecules, N atoms and E directed bonds of all of them, M motifs of all of them.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from sensorium import RowStreams, View, check_range
from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.views.augmentations import Augmented, induced_subgraph
from sensorium.modalities.graph.views.generators import GraphAugmentation, GraphViews
from sensorium.modalities.molecule.features import BOND_SIZES
from sensorium.modalities.molecule.modality import MoleculeModality

BRICS_BOND = len(BOND_SIZES)
"""Index of the bond feature that marks BRICS bonds."""


def _require_motifs(modality: MoleculeModality, views: str) -> None:
    if not modality.motifs:
        raise RecipeError(
            f"The views '{views}' need the motifs of the modality: set modalities.molecule.modality.motifs=true."
        )


class MotifSubgraph(GraphAugmentation):
    """Motif subgraph: two views, each induced by some whole BRICS motifs, so that no ring is cut.

    Motifs are drawn in random order until they have the fraction `ratio` of the atoms; a molecule of one motif stays
    whole. iMolCLR (Wang et al. 2022) cuts molecules at the same BRICS bonds.

    Args:
        modality: with motifs.
        ratio: smallest fraction of the atoms that a view keeps, above 0 and at most 1.
    """

    def __init__(self, modality: MoleculeModality, ratio: float = 0.5) -> None:
        super().__init__(modality)
        _require_motifs(modality, "motif-subgraph")
        check_range("views 'motif-subgraph'", "(0, 1]", ratio=ratio)
        self.ratio = ratio

    def augment(self, batch: GraphBatch, draws: RowStreams) -> Augmented:
        """Drop motifs."""
        motif_N = motifs_of_batch(batch)
        size_M, graph_M = motif_N.bincount(), _graph_of_motifs(motif_N, batch)
        order_M = (graph_M + draws.rand(graph_M).clamp(max=1 - 1e-9)).argsort()  # by molecule, then at random
        before_M = size_M[order_M].cumsum(0) - size_M[order_M] - batch.first_node[graph_M[order_M]]
        kept_M = torch.empty_like(size_M, dtype=torch.bool)
        kept_M[order_M] = before_M < self.ratio * batch.layout.sizes_B[graph_M[order_M]]
        return induced_subgraph(batch, kept_M[motif_N])


class MotifCount(GraphViews):
    """Motif counting: the molecule with its BRICS bonds unmarked; the target is its number of motifs.

    Args:
        modality: with motifs.
        classes: number of target classes, >= 2: 1, 2, ... motifs; the last class has all larger counts.
    """

    target = "motifs"
    classes = 12

    def __init__(self, modality: MoleculeModality, classes: int = 12) -> None:
        _require_motifs(modality, "motif-count")
        check_range("views 'motif-count'", "[2, inf)", classes=classes)
        self.classes = classes

    def on_host(self, batch: GraphBatch, draws: RowStreams, device: torch.device) -> list[View]:
        """Return one view whose target is a class int64 (B,), one less than the number of motifs."""
        motif_N = motifs_of_batch(batch)
        count_B = _graph_of_motifs(motif_N, batch).bincount(minlength=len(batch))
        edge_attr = batch.edge_attr.clone()
        edge_attr[:, BRICS_BOND] = 2  # masked
        return [View(dataclasses.replace(batch, edge_attr=edge_attr), target=(count_B - 1).clamp(max=self.classes - 1))]


def _graph_of_motifs(motif_N: Tensor, batch: GraphBatch) -> Tensor:
    """Return the molecule of each motif: int64 (M,)."""
    count = int(motif_N.max()) + 1
    return torch.empty(count, dtype=torch.int64).scatter(0, motif_N, batch.graph_index)


def motifs_of_batch(batch: GraphBatch) -> Tensor:
    """Return the motif of each atom, int64 (N,), numbered over the whole batch, molecule by molecule.

    Motifs are the connected components without BRICS bonds, found by label propagation with pointer jumping.
    """
    within_E = batch.edge_attr[:, BRICS_BOND] == 0
    source_E, target_E = batch.edge_index[:, within_E]
    label_N = torch.arange(len(batch.x))
    while True:
        lowest_N = label_N.scatter_reduce(0, target_E, label_N[source_E], "amin")
        lowest_N = lowest_N[lowest_N]
        if torch.equal(lowest_N, label_N):
            return label_N.unique(return_inverse=True)[1]
        label_N = lowest_N
