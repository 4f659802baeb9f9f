"""The molecule modality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from sensorium import BadSample, View
from sensorium.errors import DataError
from sensorium.modalities.graph.views.generators import FeatureMasking, NodeDropping
from sensorium.modalities.molecule.features import ATOM_SIZES, BOND_SIZES
from sensorium.modalities.molecule.fingerprints import fingerprint_features
from sensorium.modalities.molecule.modality import MoleculeModality
from sensorium.modalities.molecule.parse import parse

from .molecules import ODD

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def batch_of(*smiles, **options):
    modality = MoleculeModality(**options)
    return modality, modality.collate([modality.decode(one) for one in smiles])


def test_a_bond_is_two_directed_edges_of_the_same_features():
    graph = MoleculeModality().decode("C=CO")
    assert graph.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert torch.equal(graph.edge_attr[0::2], graph.edge_attr[1::2])
    assert graph.x[:, 0].tolist() == [6, 6, 8]
    assert len(MoleculeModality().decode("C")) == 1


@pytest.mark.parametrize("motifs", [False, True])
def test_every_feature_is_within_the_schema(motifs):
    modality, batch = batch_of(*ODD.values(), motifs=motifs)
    schema = modality.schema
    assert schema.node_categories == tuple(ATOM_SIZES.values())
    assert len(schema.edge_categories) == len(BOND_SIZES) + motifs
    for rows, sizes in ((batch.x, schema.node_categories), (batch.edge_attr, schema.edge_categories)):
        assert rows.shape[1] == len(sizes)
        assert (rows >= 0).all()
        assert (rows < torch.tensor(sizes)).all()


def flat(smiles):
    """The molecule without stereochemistry, as baseline features see it."""
    molecule = Chem.Mol(parse(smiles))
    Chem.RemoveStereochemistry(molecule)
    return molecule


@pytest.mark.parametrize("kind", ["ecfp4", "descriptors", "both"])
def test_baseline_features_of_a_batch_are_those_of_its_molecules(kind):
    modality, batch = batch_of(*ODD.values(), motifs=True, baseline=kind)
    wanted = fingerprint_features([flat(smiles) for smiles in ODD.values()], kind)
    np.testing.assert_allclose(modality.baseline_features(batch), wanted, rtol=1e-5, atol=1e-5)


def test_invalid_molecules_are_skipped_or_stop():
    for raw in ("", "C(C", "CN(C)(C)(C)C", None):
        with pytest.raises(BadSample):
            MoleculeModality().decode(raw)
        with pytest.raises(DataError, match="set the modality's invalid to skip"):
            MoleculeModality(invalid="error").decode(raw)


def test_fragments_are_kept_selected_skipped_or_stop():
    salt = "[Na+].CC(=O)[O-]"
    assert len(MoleculeModality().decode(salt)) == 5
    assert MoleculeModality(fragments="largest").decode(salt).x[:, 0].tolist() == [6, 6, 8, 8]
    with pytest.raises(BadSample, match="2 disconnected fragments"):
        MoleculeModality(fragments="skip", invalid="error").decode(salt)
    with pytest.raises(DataError, match="set the modality's fragments to skip"):
        MoleculeModality(fragments="error").decode(salt)
    with pytest.raises(BadSample):
        MoleculeModality(fragments="error").decode("C(C")


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_every_molecule_is_drawn(smiles):
    modality, batch = batch_of(smiles)
    image = modality.preview(modality.examples(batch)[0])
    assert image.size == (256, 256)
    assert np.asarray(image).std() > 0


def test_a_view_is_drawn():
    """A cut ring, atoms with masked features, a single atom."""
    modality, batch = batch_of(ASPIRIN)
    masked = batch.x.clone()
    masked[4:6] = torch.tensor(list(ATOM_SIZES.values()))
    batch.x = masked
    batch.edge_attr = torch.where(
        torch.arange(len(batch.edge_attr))[:, None] < 4, torch.tensor(list(BOND_SIZES.values())), batch.edge_attr
    )
    for keep in (range(13), range(7), [5]):
        kept = torch.zeros(13, dtype=torch.bool)
        kept[list(keep)] = True
        (example,) = modality.examples(batch.subgraph(kept))
        assert np.asarray(modality.preview(example)).std() > 0


def test_atoms_of_a_view_keep_their_places():
    modality, batch = batch_of(ASPIRIN)
    (original,) = modality.preview_views(batch, [View(batch)])[0]
    assert np.array_equal(original, modality.preview(modality.examples(batch)[0]))
    views = NodeDropping(modality, 0.3)(batch, torch.Generator().manual_seed(0))
    for (image,) in modality.preview_views(batch, views):
        drawn, whole = (np.asarray(one).astype(int).min(-1) for one in (image, original))
        assert (drawn[whole > 250] > 200).mean() > 0.985, "nothing where the original has nothing, but for labels"
        assert 0 < (drawn < 100).sum() < (whole < 100).sum()
        assert ((drawn > 150) & (drawn < 250) & (whole < 100)).any(), "what is dropped is faint"


def test_masked_atoms_are_shaded():
    modality, batch = batch_of(ASPIRIN, "C")
    view = FeatureMasking(modality, 0.5)(batch, torch.Generator().manual_seed(0))[0]
    shaded, unshaded = (modality.preview_views(batch, [one])[0][0] for one in (view, View(view.batch)))

    def reddish(image):
        red, green, _ = np.moveaxis(np.asarray(image).astype(int), -1, 0)
        return int((red - green > 80).sum())

    assert reddish(shaded) > reddish(unshaded) + 100


def test_unreadable_molecules_are_reported_by_id(tmp_path):
    from sensorium.data.arrays import ArraysSource
    from sensorium.data.decoding import RecordDecoder
    from sensorium.data.loader import iterate
    from sensorium.data.unreadable import UnreadableRecords
    from tests.unreadable import reasons

    smiles = ["CCO", "C(C", "c1ccccc1", "[Na+].[Cl-]", "CN(C)(C)(C)C", "N"]
    source = ArraysSource({"molecule": smiles}, ids=[f"m{i}" for i in range(6)])
    bad = UnreadableRecords(6, 0.5, tmp_path / "unreadable.csv")
    modality = {"molecule": MoleculeModality(fragments="skip")}
    ids = [
        i
        for r in iterate(
            RecordDecoder(source, {"molecule": "molecule"}, modality), np.arange(6), batch=2, bad=bad, workers=0
        )
        for i in r.ids
    ]
    assert ids == ["m0", "m2", "m5"]
    assert list(reasons(bad)) == ["m1", "m3", "m4"]
    assert "2 disconnected fragments" in reasons(bad)["m3"]
    assert "valence" in reasons(bad)["m4"]


def test_captions_are_smiles():
    modality = MoleculeModality()
    assert modality.caption("CCO ethanol") == "CCO"
    assert modality.caption(Chem.MolToMolBlock(Chem.MolFromSmiles("OCC"))) == "CCO"
    assert modality.caption("C(") == "C(", "what cannot be read is shown as it is"
    assert modality.caption("no\nblock") is modality.caption(7) is None


def test_a_mol_block_and_its_smiles_are_the_same_graph():
    block = Chem.MolToMolBlock(Chem.MolFromSmiles(ASPIRIN))
    one, other = (MoleculeModality().decode(raw) for raw in (block, ASPIRIN))
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.edge_attr, other.edge_attr)
