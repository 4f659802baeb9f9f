"""Export of an encoder as a graph of torch, which needs torch alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sensorium.exporters.base import Exporter, Verification
from sensorium.exporters.quiet import quiet
from sensorium.exporters.traced import Traceable
from sensorium.models.model import Model

FILE = "{}.pt2"
"""The name of the file of a modality."""


class TorchExport(Exporter):
    """Writes MODALITY.pt2, a program of `torch.export`: a canonical batch to pooled features, and embeddings if any.

    Batch size and length vary. It is loaded again at once, by torch alone, and computes what the model does.

    Args:
        modality: whose encoder; None for the only one.
    """

    library = "pytorch"

    def __init__(self, modality: str | None = None) -> None:
        self.modality = modality

    def export(self, model: Model, folder: Path) -> str:
        """Write the file."""
        traceable = Traceable.of(model, self.modality, "torch-export")
        path = folder / FILE.format(traceable.name)
        program = traceable.trace("torch-export")
        with quiet():
            torch.export.save(program, path)
        outputs = ", ".join(traceable.outputs) + "," * (len(traceable.outputs) == 1)
        return (
            f'encoder = torch.export.load("{path}").module(check_guards=False)\n'
            f"{outputs} = encoder({', '.join(traceable.example)})"
        )

    def verify(self, model: Model, folder: Path) -> Verification:
        """Load the file and run it."""
        traceable = Traceable.of(model, self.modality, "torch-export")
        # Guards are guesses of the tracer, such as that a batch has more than one record; this check stands for them.
        loaded = torch.export.load(folder / FILE.format(traceable.name)).module(check_guards=False)

        def run(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return dict(zip(traceable.outputs, loaded(*tensors.values()), strict=True))

        return Verification("torch", traceable.compare(run), traceable.takes(run))
