"""Baseline features."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit.Chem import AllChem

from sensorium.modalities.molecule.fingerprints import BITS, ecfp4, fingerprint_features
from sensorium.modalities.molecule.parse import parse

from .molecules import ODD, mol


def test_ecfp4_is_the_morgan_fingerprint_of_radius_two():
    molecule = mol("CC(=O)Oc1ccccc1C(=O)O")
    generator = AllChem.GetMorganGenerator(radius=2, fpSize=BITS)
    assert set(np.flatnonzero(ecfp4(molecule))) == set(generator.GetFingerprint(molecule).GetOnBits())


@pytest.mark.parametrize("smiles", ODD.values(), ids=ODD.keys())
def test_odd_molecules_have_finite_features(smiles):
    widths = {kind: fingerprint_features([parse(smiles)], kind) for kind in ("ecfp4", "descriptors", "both")}
    assert [x.shape[1] for x in widths.values()] == [2048, 217, 2265]
    assert all(np.isfinite(x).all() and x.dtype == np.float32 for x in widths.values())
