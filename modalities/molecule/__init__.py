"""Molecules: SMILES and mol blocks as graphs of atoms and bonds."""

from sensorium import hookimpl

_HOME = "sensorium.modalities.molecule"
_NEEDS = {"requires": ["rdkit"], "extra": "molecules"}

sensorium_samples = {"molecule": f"{_HOME}.samples:molecules"}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register(
        "molecule", f"{_HOME}.modality:MoleculeModality", summary="molecules as graphs of atoms and bonds", **_NEEDS
    )


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    home = f"{_HOME}.sources"
    register(
        "molecules",
        f"{home}.files:MoleculeFiles",
        summary="SMILES and mol blocks in .smi, .csv, .parquet, .sdf",
        **_NEEDS,
    )
    register("rdkit-samples", f"{home}.samples:RdkitSamples", summary="the molecules that rdkit brings along", **_NEEDS)
