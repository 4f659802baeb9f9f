"""A FASTA file for the conformance checks."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import Any

TEXT = "; three sequences\n>a OX=9606 first\nACGT\nACGT\n>b OX=562\nGATTACA\n>c second\n\n"


def fasta() -> dict[str, Any]:
    """Return options of the source 'fasta': a gzipped file of three sequences, one of them empty."""
    path = Path(tempfile.mkdtemp()) / "three.fasta.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    return {"path": str(path), "labels": {"taxon": r"OX=(\d+)"}}
