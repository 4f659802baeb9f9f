"""Export of an encoder as an ONNX graph, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sensorium.errors import SensoriumError
from sensorium.exporters.base import Exporter, Verification
from sensorium.exporters.quiet import quiet
from sensorium.exporters.traced import Traceable, first_line
from sensorium.models.model import Model

FILE = "{}.onnx"
"""The name of the file of a modality."""


class Onnx(Exporter):
    """Writes MODALITY.onnx: a canonical batch to pooled features, and to embeddings where the run has a joint space.

    Batch size and length vary. onnxruntime runs it at once, at batch 1, 2 and 7 and, of examples with a length, at two
    lengths, and computes what the model does.

    Args:
        modality: whose encoder; None for the only one.
        opset: version of the operators; None takes that of torch.
    """

    library = "onnx"

    def __init__(self, modality: str | None = None, opset: int | None = None) -> None:
        self.modality, self.opset = modality, opset

    def export(self, model: Model, folder: Path) -> str:
        """Write the file."""
        traceable = Traceable.of(model, self.modality, "onnx")
        program = traceable.trace("onnx")
        names = list(traceable.example)
        path = folder / FILE.format(traceable.name)
        try:
            with quiet():
                made = torch.onnx.export(
                    program,
                    input_names=names,
                    output_names=list(traceable.outputs),
                    opset_version=self.opset,
                    dynamo=True,
                    verbose=False,
                )
                assert made is not None, "with dynamo it returns the program"
                made.save(path)
        except Exception as error:  # of the converter, or of a pass that simplifies the graph
            cause = error.__cause__ or error
            raise SensoriumError(
                f"The encoder {type(traceable.encoder).__name__} of '{traceable.name}' has an operation that cannot be "
                f"written as ONNX ({first_line(cause)}); the format 'torch-export' takes it."
            ) from error
        feeds = ", ".join(f'"{name}": {name}' for name in names)
        return (
            f'session = onnxruntime.InferenceSession("{path}")\n'
            f"{', '.join(traceable.outputs)}{',' * (len(traceable.outputs) == 1)} = session.run(None, {{{feeds}}})"
        )

    def verify(self, model: Model, folder: Path) -> Verification:
        """Run the file with onnxruntime."""
        import onnxruntime

        traceable = Traceable.of(model, self.modality, "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # what fails is told, or looked for: the shortest length
        path = folder / FILE.format(traceable.name)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def run(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            made = session.run(None, {name: tensor.numpy() for name, tensor in tensors.items()})
            return {name: torch.from_numpy(x) for name, x in zip(traceable.outputs, made, strict=True)}

        return Verification("onnxruntime", traceable.compare(run), traceable.takes(run))
