"""Views by BRICS motif."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.molecule.modality import MoleculeModality
from sensorium.modalities.molecule.motifs import brics_motifs
from sensorium.modalities.molecule.parse import parse
from sensorium.modalities.molecule.views import BRICS_BOND, MotifCount, MotifSubgraph, motifs_of_batch

from .molecules import ODD

MODALITY = MoleculeModality(motifs=True)
SMILES = [*ODD.values(), "CC(=O)Oc1ccccc1C(=O)O", "C/C=C/C(=O)NCCc1ccc(OCC2CC2)cc1"]
BATCH = MODALITY.collate([MODALITY.decode(one) for one in SMILES])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def kept(view):
    """The atoms of the batch that a view keeps, bool (N,)."""
    return torch.cat([row[:size] for row, size in zip(view.info["kept_nodes"], BATCH.sizes.tolist(), strict=True)])


def test_brics_motifs_a_batch_are_those_of_its_molecules():
    found = motifs_of_batch(BATCH).split(BATCH.sizes.tolist())
    for smiles, motif_N in zip(SMILES, found, strict=True):
        assert (motif_N - motif_N.min()).tolist() == brics_motifs(parse(smiles)).tolist()


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=40)
def test_a_view_has_whole_motifs_and_enough_atoms(seed, ratio):
    before = [t.clone() for t in BATCH.tensors().values()]
    for view in MotifSubgraph(MODALITY, ratio)(BATCH, rng(seed)):
        kept_N = kept(view)
        motif_N = motifs_of_batch(BATCH)
        for motif in motif_N.unique():
            assert len(kept_N[motif_N == motif].unique()) == 1
        assert (view.batch.sizes >= 1).all()
        assert (view.batch.sizes >= ratio * BATCH.sizes - 1e-6).all()
        assert torch.equal(view.batch.x, BATCH.x[kept_N])
        ring_E = BATCH.edge_attr[:, 3] == 1
        assert (kept_N[BATCH.edge_index[0, ring_E]] == kept_N[BATCH.edge_index[1, ring_E]]).all()
        largest_B = torch.stack(
            [(motif_N[BATCH.graph_index == g]).unique(return_counts=True)[1].max() for g in range(len(BATCH))]
        )
        assert (view.batch.sizes < ratio * BATCH.sizes + largest_B.numpy()).all(), "no motif more than needed"
    assert all(torch.equal(a, b) for a, b in zip(before, BATCH.tensors().values(), strict=True))


def test_views_are_deterministic_given_the_generator():
    a, b = MotifSubgraph(MODALITY, 0.5)(BATCH, rng(3))
    again, _ = MotifSubgraph(MODALITY, 0.5)(BATCH, rng(3))
    assert torch.equal(kept(a), kept(again))
    assert not torch.equal(kept(a), kept(b))
    assert kept(MotifSubgraph(MODALITY, 1.0)(BATCH, rng())[0]).all()


def test_every_motif_is_kept_equally_often():
    pair = MODALITY.collate([MODALITY.decode("c1ccccc1OCC1CC1")] * 2000)
    nodes = MotifSubgraph(MODALITY, 0.01)(pair, rng())[0].info["kept_nodes"]
    motif_N = torch.from_numpy(brics_motifs(parse("c1ccccc1OCC1CC1")))
    fractions = torch.stack([nodes[:, motif_N == m].float().mean() for m in motif_N.unique()])
    assert (fractions - 1 / len(fractions)).abs().max() < 0.05


def test_the_target_is_the_number_of_motifs_and_brics_bonds_are_masked():
    (view,) = MotifCount(MODALITY, classes=4)(BATCH, rng())
    counts = [brics_motifs(parse(smiles)).max() + 1 for smiles in SMILES]
    assert view.target.tolist() == [min(count, 4) - 1 for count in counts]
    assert (view.batch.edge_attr[:, BRICS_BOND] == 2).all(), "the mask category"
    assert torch.equal(view.batch.edge_attr[:, :BRICS_BOND], BATCH.edge_attr[:, :BRICS_BOND])
    assert (BATCH.edge_attr[:, BRICS_BOND] < 2).all()


def test_invalid_options_are_refused():
    with pytest.raises(RecipeError, match="motifs=true"):
        MotifSubgraph(MoleculeModality())
    with pytest.raises(RecipeError, match="above 0 and at most 1"):
        MotifSubgraph(MODALITY, 0.0)
    with pytest.raises(RecipeError, match="must be at least 2, not 1"):
        MotifCount(MODALITY, 1)
