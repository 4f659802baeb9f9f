"""rdkit's own molecules."""

import pytest

from sensorium.modalities.molecule.sources.samples import RdkitSamples


def test_both_sets_are_whole_from_the_first_row():
    nci, wehi = RdkitSamples("nci"), RdkitSamples("wehi")
    assert (len(nci), len(wehi)) == (4999, 10000)
    assert nci[0].values["molecule"] == "CC1=CC(=O)C=CC1=O"
    assert nci.key(0).labels == {"tpsa": 34.14}
    assert wehi[0].id == "WEHI-0039854"
    assert len({wehi.key(i).id for i in range(10000)}) == 10000


def test_qed_is_a_label():
    from rdkit import Chem
    from rdkit.Chem.QED import qed

    likely = RdkitSamples("nci", label="qed")
    assert likely.key(0).labels == {"qed": pytest.approx(qed(Chem.MolFromSmiles("CC1=CC(=O)C=CC1=O")))}
    unreadable = [i for i in range(len(likely)) if not likely.key(i).labels]
    assert 0 < len(unreadable) < 20
    assert likely.key(unreadable[0]).id == "NCI-2098"
    assert all(0 < label < 1 for i in range(len(likely)) for label in likely.key(i).labels.values())
