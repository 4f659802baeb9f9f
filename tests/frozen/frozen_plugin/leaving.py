"""An exporter and a command."""

from typing import Annotated

import torch
import typer

from sensorium import Exporter


class Weights(Exporter):
    """Writes NAME.pt for each modality: the weights of its encoder, for torch."""

    def export(self, model, folder):
        for name in model.modalities:
            torch.save(model.learner.encoder(name).state_dict(), folder / f"{name}.pt")
        return f'weights = torch.load("{folder / name}.pt", weights_only=True)'


def count(numbers: Annotated[list[float], typer.Argument(help="The vector.")]) -> None:
    """Count the numbers of a vector."""
    typer.echo(len(numbers))
