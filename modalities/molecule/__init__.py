"""Molecules: SMILES and mol blocks as graphs of atoms and bonds."""

from sensorium import hookimpl
from sensorium.modalities.graph import ENCODERS, VIEWS

_HOME = "sensorium.modalities.molecule"
_NEEDS = {"requires": ["rdkit"], "extra": "molecules"}

sensorium_samples = {"molecule": f"{_HOME}.samples:molecules"}
sensorium_matrix = {
    "columns/molecule": {
        "description": "4,999 NCI molecules (from RDKit, BSD-3-Clause); the label is the drug-likeness QED",
        "data": {
            "source": {"name": "rdkit-samples", "label": "qed"},
            "batch": 64,
            "test": 0.3,
            "cache": "ram",
            "max_bad": 0.02,
        },
        "modalities": {
            "molecule": {
                "modality": {"name": "molecule", "motifs": True},
                "views": ["augment", "plain", "attribute-masking", "feature-shuffling", "context-graph", "motif-count"],
                "encoders": [{"name": "gine", "width": 64}, {"name": "gin", "width": 64}],
            }
        },
        "evaluator": {"name": "ridge", "label": "qed"},
        "metric": "R2",
        "optimizer": {"lr": 1e-3},
        "steps": 1000,
        "requires": ["rdkit"],
    }
}
sensorium_options = {"modalities/molecule": {"motifs": True}}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register(
        "molecule", f"{_HOME}.modality:MoleculeModality", summary="molecules as graphs of atoms and bonds", **_NEEDS
    )


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders of graphs."""
    for name, (target, summary) in ENCODERS.items():
        register(name, target, summary=summary, modality="molecule")


@hookimpl
def sensorium_register_views(register):
    """Register the view generators of graphs, and those of BRICS motifs."""
    for name, (target, summary) in VIEWS.items():
        register(name, target, summary=summary, modality="molecule")
    home = f"{_HOME}.views"
    register(
        "motif-subgraph",
        f"{home}:MotifSubgraph",
        summary="subgraphs of whole BRICS motifs, no ring cut",
        modality="molecule",
        **_NEEDS,
    )
    register(
        "motif-count",
        f"{home}:MotifCount",
        summary="the molecule; the target is its number of BRICS motifs",
        modality="molecule",
        **_NEEDS,
    )


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    home = f"{_HOME}.sources"
    register(
        "molecules",
        f"{home}.files:MoleculeFiles",
        summary="SMILES and mol blocks in .smi, .csv, .tsv, .jsonl, .parquet, .sdf",
        **_NEEDS,
    )
    register(
        "rdkit-samples",
        f"{home}.samples:RdkitSamples",
        summary="the molecules bundled with RDKit (NCI, WEHI)",
        **_NEEDS,
    )
