"""The 217 two-dimensional descriptors of RDKit, by the names that RDKit gives them.

Their list is fixed here: RDKit adds to its own from release to release, and a model that predicts descriptors must find
as many of them, in the same order, under another release.
"""

from __future__ import annotations

import numpy as np
from rdkit import Chem
from rdkit.Chem import Descriptors

_VSA_BINS = {"PEOE_VSA": 14, "SMR_VSA": 10, "SlogP_VSA": 12, "EState_VSA": 11, "VSA_EState": 10}
_FUNCTIONAL_GROUPS = """
    Al_COO Al_OH Al_OH_noTert ArN Ar_COO Ar_N Ar_NH Ar_OH COO COO2 C_O C_O_noCOO C_S HOCCN Imine NH0 NH1 NH2 N_O
    Ndealkylation1 Ndealkylation2 Nhpyrrole SH aldehyde alkyl_carbamate alkyl_halide allylic_oxid amide amidine
    aniline aryl_methyl azide azo barbitur benzene benzodiazepine bicyclic diazo dihydropyridine epoxide ester ether
    furan guanido halogen hdrzine hdrzone imidazole imide isocyan isothiocyan ketone ketone_Topliss lactam lactone
    methoxy morpholine nitrile nitro nitro_arom nitro_arom_nonortho nitroso oxazole oxime para_hydroxylation phenol
    phenol_noOrthoHbond phos_acid phos_ester piperdine piperzine priamide prisulfonamd pyridine quatN sulfide
    sulfonamd sulfone term_acetylene tetrazole thiazole thiocyan thiophene unbrch_alkane urea
"""
_OTHERS = """
    MaxAbsEStateIndex MaxEStateIndex MinAbsEStateIndex MinEStateIndex qed SPS MolWt HeavyAtomMolWt ExactMolWt
    NumValenceElectrons NumRadicalElectrons MaxPartialCharge MinPartialCharge MaxAbsPartialCharge
    MinAbsPartialCharge FpDensityMorgan1 FpDensityMorgan2 FpDensityMorgan3 BCUT2D_MWHI BCUT2D_MWLOW BCUT2D_CHGHI
    BCUT2D_CHGLO BCUT2D_LOGPHI BCUT2D_LOGPLOW BCUT2D_MRHI BCUT2D_MRLOW AvgIpc BalabanJ BertzCT Chi0 Chi0n Chi0v Chi1
    Chi1n Chi1v Chi2n Chi2v Chi3n Chi3v Chi4n Chi4v HallKierAlpha Ipc Kappa1 Kappa2 Kappa3 Phi LabuteASA TPSA
    MolLogP MolMR FractionCSP3 HeavyAtomCount NHOHCount NOCount NumAliphaticCarbocycles NumAliphaticHeterocycles
    NumAliphaticRings NumAmideBonds NumAromaticCarbocycles NumAromaticHeterocycles NumAromaticRings
    NumAtomStereoCenters NumBridgeheadAtoms NumHAcceptors NumHDonors NumHeteroatoms NumHeterocycles
    NumRotatableBonds NumSaturatedCarbocycles NumSaturatedHeterocycles NumSaturatedRings NumSpiroAtoms
    NumUnspecifiedAtomStereoCenters RingCount
"""
DESCRIPTORS = (
    *_OTHERS.split(),
    *(f"{name}{number}" for name, bins in _VSA_BINS.items() for number in range(1, bins + 1)),
    *(f"fr_{group}" for group in _FUNCTIONAL_GROUPS.split()),
)
"""Names of the descriptors, in order: physical, topological and charge descriptors, counts, surface bins, groups."""


_FUNCTIONS = dict(Descriptors.descList)
_QUARTIC, LARGE = ("Ipc", "AvgIpc"), 100
"""Descriptors whose time grows with the fourth power of the number of heavy atoms, and are left out above that many."""


def descriptors(mol: Chem.Mol) -> np.ndarray:
    """Return the descriptors of a sanitized molecule, float32 (217,), as `DESCRIPTORS` names them.

    One that is undefined for the molecule, that RDKit fails to compute or does not know, or that float32 cannot hold,
    is nan; the others are as they would be without it. So are Ipc and AvgIpc of more than 100 heavy atoms, which would
    take seconds.
    """
    left_out = _QUARTIC if mol.GetNumHeavyAtoms() > LARGE else ()
    with np.errstate(all="ignore"):  # Ipc grows exponentially with the number of atoms
        row_P = np.array([np.nan if name in left_out else _value(name, mol) for name in DESCRIPTORS]).astype(np.float32)
    return np.where(np.isfinite(row_P), row_P, np.float32("nan"))


def _value(name: str, mol: Chem.Mol) -> float:
    try:
        return float(_FUNCTIONS[name](mol))
    except Exception:  # of any kind: RDKit's, or of what it calls, by descriptor and release
        return np.nan
