"""rdkit's own molecules."""

from sensorium.modalities.molecule.sources.samples import RdkitSamples


def test_both_sets_are_whole_from_the_first_row():
    nci, wehi = RdkitSamples("nci"), RdkitSamples("wehi")
    assert (len(nci), len(wehi)) == (4999, 10000)
    assert nci[0].values["molecule"] == "CC1=CC(=O)C=CC1=O"
    assert nci.key(0).labels == {"tpsa": 34.14}
    assert wehi[0].id == "WEHI-0039854"
    assert len({wehi.key(i).id for i in range(10000)}) == 10000
