"""Molecules for tests, among them unusual ones that are hard to featurize."""

from rdkit import Chem

PEPTIDE = "N[C@@H](C)C(=O)" * 98 + "O"
"""98 alanines: 491 heavy atoms."""
ODD = {
    "one atom": "C",
    "one ion": "[Na+]",
    "dummy atom": "*CC",
    "salt": "C[NH3+].[Cl-]",
    "salt of a metal": "[Na+].CC(=O)[O-]",
    "complex": "N[Pt](N)(Cl)Cl",
    "ferrocene": "[CH-]1C=CC=C1.[CH-]1C=CC=C1.[Fe+2]",
    "dative bond": "[NH3]->[Cu+2]",
    "isotope": "[2H]C([2H])([2H])O",
    "carbon-14": "[14CH3]C(=O)O",
    "radical": "C[CH2]",
    "triplet carbene": "[CH2]",
    "S": "C[C@H](N)C(=O)O",
    "R": "C[C@@H](N)C(=O)O",
    "E": "C/C=C/C",
    "Z": "C/C=C\\C",
    "aromatic": "c1ccc2[nH]ccc2c1",
    "peptide": PEPTIDE,
    "uranyl": "O=[U+2]=O",
    "sulphur of six": "FS(F)(F)(F)(F)F",
    "name after it": "CCO ethanol",
}


def mol(smiles: str) -> Chem.Mol:
    """The molecule of a valid SMILES."""
    made = Chem.MolFromSmiles(smiles)
    assert made is not None
    return made
