"""The molecule modality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from sensorium import BadSample
from sensorium.errors import DataError
from sensorium.modalities.molecule.features import ATOM_SIZES, BOND_SIZES
from sensorium.modalities.molecule.fingerprints import fingerprint_features
from sensorium.modalities.molecule.modality import MoleculeModality
from sensorium.modalities.molecule.parse import parse

from .molecules import ODD

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def batch_of(*smiles, **options):
    modality = MoleculeModality(**options)
    return modality, modality.collate([modality.decode(one) for one in smiles])


def test_a_bond_leads_both_ways_with_one_set_of_features():
    graph = MoleculeModality().decode("C=CO")
    assert graph.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert torch.equal(graph.edge_attr[0::2], graph.edge_attr[1::2])
    assert graph.x[:, 0].tolist() == [6, 6, 8]
    assert len(MoleculeModality().decode("C")) == 1


@pytest.mark.parametrize("motifs", [False, True])
def test_every_feature_is_within_the_schema(motifs):
    modality, batch = batch_of(*ODD.values(), motifs=motifs)
    schema = modality.schema
    assert schema.nodes == tuple(ATOM_SIZES.values())
    assert len(schema.edges) == len(BOND_SIZES) + motifs
    for rows, sizes in ((batch.x, schema.nodes), (batch.edge_attr, schema.edges)):
        assert rows.shape[1] == len(sizes)
        assert (rows >= 0).all()
        assert (rows < torch.tensor(sizes)).all()


@pytest.mark.parametrize("kind", ["ecfp4", "descriptors", "both"])
def test_hand_made_features_of_a_batch_are_those_of_its_molecules(kind):
    modality, batch = batch_of(*ODD.values(), motifs=True, baseline=kind)
    wanted = fingerprint_features([parse(smiles) for smiles in ODD.values()], kind)
    np.testing.assert_allclose(modality.baseline_features(batch), wanted, rtol=1e-5)


def test_what_is_no_molecule_is_skipped_or_stops():
    for raw in ("", "C(C", "CN(C)(C)(C)C", None):
        with pytest.raises(BadSample):
            MoleculeModality().decode(raw)
        with pytest.raises(DataError, match="set the modality's invalid to skip"):
            MoleculeModality(invalid="error").decode(raw)


def test_what_has_parts_is_kept_cut_skipped_or_stops():
    salt = "[Na+].CC(=O)[O-]"
    assert len(MoleculeModality().decode(salt)) == 5
    assert MoleculeModality(fragments="largest").decode(salt).x[:, 0].tolist() == [6, 6, 8, 8]
    with pytest.raises(BadSample, match="2 unconnected parts"):
        MoleculeModality(fragments="skip", invalid="error").decode(salt)
    with pytest.raises(DataError, match="set the modality's fragments to skip"):
        MoleculeModality(fragments="error").decode(salt)
    with pytest.raises(BadSample):
        MoleculeModality(fragments="error").decode("C(C")


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_every_molecule_is_drawn(smiles):
    modality, batch = batch_of(smiles)
    picture = modality.preview(modality.examples(batch)[0])
    assert picture.size == (256, 256)
    assert np.asarray(picture).std() > 0


def test_what_a_view_leaves_is_drawn():
    """A cut ring, atoms whose features are hidden, nothing but one atom."""
    modality, batch = batch_of(ASPIRIN)
    hidden = batch.x.clone()
    hidden[4:6] = torch.tensor(list(ATOM_SIZES.values()))
    batch.x = hidden
    batch.edge_attr = torch.where(
        torch.arange(len(batch.edge_attr))[:, None] < 4, torch.tensor(list(BOND_SIZES.values())), batch.edge_attr
    )
    for keep in (range(13), range(7), [5]):
        kept = torch.zeros(13, dtype=torch.bool)
        kept[list(keep)] = True
        (example,) = modality.examples(batch.subgraph(kept))
        assert np.asarray(modality.preview(example)).std() > 0


def test_a_report_of_the_bad_ones_by_id(tmp_path):
    from sensorium.data.arrays import ArraysSource
    from sensorium.data.loader import iterate
    from sensorium.data.unreadable import UnreadableRecords

    smiles = ["CCO", "C(C", "c1ccccc1", "[Na+].[Cl-]", "CN(C)(C)(C)C", "N"]
    source = ArraysSource({"molecule": smiles}, ids=[f"m{i}" for i in range(6)])
    bad = UnreadableRecords(6, 0.5, tmp_path / "bad.jsonl")
    modality = {"molecule": MoleculeModality(fragments="skip")}
    ids = [
        i
        for r in iterate(source, np.arange(6), {"molecule": "molecule"}, modality, batch=2, bad=bad, workers=0)
        for i in r.ids
    ]
    assert ids == ["m0", "m2", "m5"]
    assert list(bad.reasons) == ["m1", "m3", "m4"]
    assert "2 unconnected parts" in bad.reasons["m3"]
    assert "valence" in bad.reasons["m4"]


def test_a_block_and_its_smiles_are_one_molecule():
    block = Chem.MolToMolBlock(Chem.MolFromSmiles(ASPIRIN))
    one, other = (MoleculeModality().decode(raw) for raw in (block, ASPIRIN))
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.edge_attr, other.edge_attr)
