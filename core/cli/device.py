"""The option of the commands that run a model."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[
    str, typer.Option(help="auto (CUDA if there is one, else the CPU), cpu, cuda, cuda:N or mps.", metavar="DEVICE")
]
