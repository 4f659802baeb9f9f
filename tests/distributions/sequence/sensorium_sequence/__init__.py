"""Registers DNA and proteins: the modality 'sequence', its encoders and views, FASTA files, families, recipes."""

from sensorium import hookimpl

_HOME = "sensorium_sequence"

sensorium_api = 1
sensorium_samples = {
    "sequence": ["ACGTTGCANNACGT", "GATTACA", "ACG", "acgu-acgu", b"TTTTGGGGCCCCAAAA", "ACGTACGTACGTACGTACGTA"],
}
sensorium_options = {"sources/fasta": f"{_HOME}.samples:fasta"}

_TEXT = {
    "modality": {"name": "text", "vocab": 300, "length": 24},
    "views": ["plain"],
    "encoders": [{"name": "transformer", "width": 64, "depth": 2}],
}

sensorium_matrix = {
    "columns/sequence": {
        "description": "800 computed DNA sequences of eight families, on either strand; no wheel brings labeled ones",
        "data": {"source": "families", "batch": 64, "test": 0.3, "cache": "ram"},
        "modalities": {
            "sequence": {
                "modality": {"name": "sequence", "length": 96},
                "views": ["augment", {"name": "augment", "views": 6}, "plain", "token-mask", "strand"],
                "encoders": [
                    {"name": "conv", "depth": 3},
                    {"name": "transformer", "depth": 1},
                    {"name": "transformer", "depth": 1, "causal": True},
                ],
            }
        },
        "evaluator": {"name": "knn", "label": "family"},
        "metric": "accuracy",
        "optimizer": {"lr": 1e-3},
        "steps": 200,
    },
    "columns/sequence-text": {
        "description": "800 computed proteins of eight families with a few words on each",
        "data": {"source": {"name": "families", "kind": "protein"}, "batch": 64, "test": 0.2, "cache": "ram"},
        "modalities": {
            "sequence": {
                "modality": {"name": "sequence", "kind": "protein", "length": 96},
                "views": ["plain"],
                "encoders": ["conv"],
            },
            "text": _TEXT,
        },
        "evaluator": {"name": "retrieval", "positives": "label:family"},
        "metric": "sequence->text R@1",
        "optimizer": {"lr": 1e-3, "weight_decay": 0.1},
        "steps": 200,
    },
}


@hookimpl
def sensorium_register_modalities(register):
    """Register the modality."""
    register("sequence", f"{_HOME}.modality:SequenceModality", summary="DNA, RNA and proteins, as k-mers")


@hookimpl
def sensorium_register_encoders(register):
    """Register the encoders."""
    register(
        "transformer",
        f"{_HOME}.encoders:SequenceTransformer",
        modality="sequence",
        summary="pre-norm transformer, bidirectional or causal",
    )
    register("conv", f"{_HOME}.encoders:DilatedConvolutions", modality="sequence", summary="dilated convolutions")


@hookimpl
def sensorium_register_views(register):
    """Register the view generators."""
    views = {
        "plain": ("Plain", "the sequence itself"),
        "augment": ("Augment", "crops with mutations, those of DNA on either strand"),
        "strand": ("Strand", "DNA on a random strand, which is the target"),
        "token-mask": ("TokenMask", "masked tokens, which are the target, as in DNABERT"),
    }
    for name, (target, summary) in views.items():
        register(name, f"{_HOME}.views:{target}", modality="sequence", summary=summary)


@hookimpl
def sensorium_register_sources(register):
    """Register the sources."""
    register("fasta", f"{_HOME}.fasta:Fasta", summary="FASTA files, gzipped ones too")
    register("families", f"{_HOME}.families:Families", summary="computed families of DNA or proteins")


@hookimpl
def sensorium_register_recipes(register):
    """Register the recipes."""
    register("dna", f"{_HOME}.recipes:dna.yaml", summary="SimCLR on DNA on either strand")
    register("protein-text", f"{_HOME}.recipes:protein-text.yaml", summary="CLIP on proteins and a few words on each")
