"""Views of molecules that know their BRICS motifs.

Letters: B molecules, N atoms and E directed bonds of all of them, M motifs of all of them.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from sensorium import View, ViewGenerator
from sensorium.errors import RecipeError
from sensorium.modalities.graph.batch import GraphBatch
from sensorium.modalities.graph.views.changes import Change, induced, rand
from sensorium.modalities.graph.views.generators import Changed
from sensorium.modalities.molecule.features import BOND_SIZES
from sensorium.modalities.molecule.modality import MoleculeModality

COLUMN = len(BOND_SIZES)
"""The column of bonds that says whether they lead from motif to motif."""


def _check_motifs(modality: MoleculeModality) -> None:
    if not modality.motifs:
        raise RecipeError("Views by motif need the modality's motifs: set modalities.molecule.modality.motifs=true.")


class KeepMotifs(Changed):
    """Two views, each some motifs of the molecule, whole, with the bonds between them: no ring is ever cut.

    Motifs are taken in random order until their atoms are `keep` of all, so that a molecule of one motif stays whole:
    the subgraphs of iMolCLR (Wang et al. 2022) fall apart at the same BRICS bonds.

    Args:
        modality: must find motifs.
        keep: share of the atoms that a view has at least.
    """

    def __init__(self, modality: MoleculeModality, keep: float = 0.5) -> None:
        super().__init__(modality)
        _check_motifs(modality)
        if not 0 < keep <= 1:
            raise RecipeError(f"A view keeps a share of the atoms above 0 and at most 1, not {keep}.")
        self.keep = keep

    def change(self, batch: GraphBatch, rng: torch.Generator) -> Change:
        """Leave out motifs."""
        motif_N = motifs_in(batch)
        size_M, graph_M = motif_N.bincount(), _graph_of(motif_N, batch)
        order_M = (graph_M + rand(len(size_M), rng).clamp(max=1 - 1e-9)).argsort()  # by molecule, then at random
        before_M = size_M[order_M].cumsum(0) - size_M[order_M] - batch.firsts[graph_M[order_M]]
        kept_M = torch.empty_like(size_M, dtype=torch.bool)
        kept_M[order_M] = before_M < self.keep * batch.sizes[graph_M[order_M]]
        return induced(batch, kept_M[motif_N])


class CountMotifs(ViewGenerator):
    """The molecule, without being told which bonds lead from motif to motif; the target is how many motifs it has.

    Args:
        modality: must find motifs.
        classes: how many counts are told apart: 1, 2 and so on, the last for itself and all above.
    """

    target = "motifs"
    classes = 12

    def __init__(self, modality: MoleculeModality, classes: int = 12) -> None:
        _check_motifs(modality)
        if classes < 2:
            raise RecipeError(f"At least two counts of motifs are told apart, not {classes}.")
        self.classes = classes

    def __call__(self, batch: GraphBatch, rng: torch.Generator) -> list[View]:
        """Return one view whose target is a class int64 (B,), one less than the number of motifs."""
        motif_N = motifs_in(batch)
        count_B = _graph_of(motif_N, batch).bincount(minlength=len(batch))
        edge_attr = batch.edge_attr.clone()
        edge_attr[:, COLUMN] = 2  # hidden
        return [View(dataclasses.replace(batch, edge_attr=edge_attr), target=(count_B - 1).clamp(max=self.classes - 1))]


def _graph_of(motif_N: Tensor, batch: GraphBatch) -> Tensor:
    """Return which molecule each motif is of: int64 (M,)."""
    count = int(motif_N.max()) + 1
    return torch.empty(count, dtype=torch.int64, device=batch.device).scatter(0, motif_N, batch.graph)


def motifs_in(batch: GraphBatch) -> Tensor:
    """Return the motif of each atom, int64 (N,), numbered over the whole batch, molecule by molecule.

    A motif is what hangs together when the bonds between motifs are taken away. Labels spread along the bonds left,
    and jump to the label of their label, until none changes.
    """
    inside_E = batch.edge_attr[:, COLUMN] == 0
    from_E, to_E = batch.edge_index[:, inside_E]
    label_N = torch.arange(len(batch.x), device=batch.device)
    while True:
        std_N = label_N.scatter_reduce(0, to_E, label_N[from_E], "amin")
        std_N = std_N[std_N]
        if torch.equal(std_N, label_N):
            return label_N.unique(return_inverse=True)[1]
        label_N = std_N
