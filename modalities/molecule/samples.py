"""Sample molecules on which the conformance kit runs every part of the modality."""


def molecules() -> list[str]:
    """Return SMILES: drug-like molecules, a salt, a single atom, a stereocenter, a stereo double bond, a metal."""
    return [
        "CC(=O)Oc1ccccc1C(=O)O",
        "C[C@H](N)C(=O)O",
        "C/C=C/C(=O)NCCc1ccc(O)cc1",
        "C[NH3+].[Cl-]",
        "C",
        "N[Pt](N)(Cl)Cl",
        "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    ]
