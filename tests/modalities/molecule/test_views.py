"""Views by motif."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import RecipeError
from sensorium.modalities.molecule.modality import MoleculeModality
from sensorium.modalities.molecule.motifs import motifs_of
from sensorium.modalities.molecule.parse import parse
from sensorium.modalities.molecule.views import COLUMN, CountMotifs, KeepMotifs, motifs_in

from .molecules import ODD

MODALITY = MoleculeModality(motifs=True)
SMILES = [*ODD.values(), "CC(=O)Oc1ccccc1C(=O)O", "C/C=C/C(=O)NCCc1ccc(OCC2CC2)cc1"]
BATCH = MODALITY.collate([MODALITY.decode(one) for one in SMILES])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def kept(view):
    """Which atoms of the batch a view has, bool (N,)."""
    return torch.cat([row[:size] for row, size in zip(view.info["nodes"], BATCH.sizes.tolist(), strict=True)])


def test_motifs_of_a_batch_are_those_of_its_molecules():
    found = motifs_in(BATCH).split(BATCH.sizes.tolist())
    for smiles, motif_N in zip(SMILES, found, strict=True):
        assert (motif_N - motif_N.min()).tolist() == motifs_of(parse(smiles)).tolist()


@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
@settings(deadline=None, max_examples=40)
def test_a_view_has_whole_motifs_enough_atoms_and_no_cut_ring(seed, keep):
    before = [t.clone() for t in BATCH.tensors().values()]
    for view in KeepMotifs(MODALITY, keep)(BATCH, rng(seed)):
        kept_N = kept(view)
        motif_N = motifs_in(BATCH)
        for motif in motif_N.unique():
            assert len(kept_N[motif_N == motif].unique()) == 1
        assert (view.batch.sizes >= 1).all()
        assert (view.batch.sizes >= keep * BATCH.sizes - 1e-6).all()
        assert torch.equal(view.batch.x, BATCH.x[kept_N])
        ring_E = BATCH.edge_attr[:, 3] == 1
        assert (kept_N[BATCH.edge_index[0, ring_E]] == kept_N[BATCH.edge_index[1, ring_E]]).all()
        largest_B = torch.stack(
            [(motif_N[BATCH.graph == g]).unique(return_counts=True)[1].max() for g in range(len(BATCH))]
        )
        assert (view.batch.sizes < keep * BATCH.sizes + largest_B).all(), "no motif more than needed"
    assert all(torch.equal(a, b) for a, b in zip(before, BATCH.tensors().values(), strict=True))


def test_views_hang_on_the_seed_and_on_nothing_else():
    a, b = KeepMotifs(MODALITY, 0.5)(BATCH, rng(3))
    again, _ = KeepMotifs(MODALITY, 0.5)(BATCH, rng(3))
    assert torch.equal(kept(a), kept(again))
    assert not torch.equal(kept(a), kept(b))
    assert kept(KeepMotifs(MODALITY, 1.0)(BATCH, rng())[0]).all()


def test_every_motif_is_kept_as_often_as_another():
    pair = MODALITY.collate([MODALITY.decode("c1ccccc1OCC1CC1")] * 2000)
    nodes = KeepMotifs(MODALITY, 0.01)(pair, rng())[0].info["nodes"]
    motif_N = torch.from_numpy(motifs_of(parse("c1ccccc1OCC1CC1")))
    shares = torch.stack([nodes[:, motif_N == m].float().mean() for m in motif_N.unique()])
    assert (shares - 1 / len(shares)).abs().max() < 0.05


def test_the_target_is_the_number_of_motifs_and_is_not_told():
    (view,) = CountMotifs(MODALITY, classes=4)(BATCH, rng())
    counts = [motifs_of(parse(smiles)).max() + 1 for smiles in SMILES]
    assert view.target.tolist() == [min(count, 4) - 1 for count in counts]
    assert (view.batch.edge_attr[:, COLUMN] == 2).all(), "the hidden class"
    assert torch.equal(view.batch.edge_attr[:, :COLUMN], BATCH.edge_attr[:, :COLUMN])
    assert (BATCH.edge_attr[:, COLUMN] < 2).all()


def test_what_cannot_be_is_told():
    with pytest.raises(RecipeError, match="motifs=true"):
        KeepMotifs(MoleculeModality())
    with pytest.raises(RecipeError, match="above 0 and at most 1"):
        KeepMotifs(MODALITY, 0.0)
    with pytest.raises(RecipeError, match="two counts"):
        CountMotifs(MODALITY, 1)
