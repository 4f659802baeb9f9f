"""The numeric settings of a training: precision, fp32 products on a GPU, deterministic algorithms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.plugins import MixedPrecision, Precision

from sensorium.devices import precision_of
from sensorium.recipe.schema import Train

CUBLAS_WORKSPACE = ":4096:8"
"""Workspace with which products of cuBLAS are deterministic, as its manual asks for it."""


class Autocast(MixedPrecision):
    """Mixed precision by autocast alone: inputs and outputs of the learner keep their dtype.

    Fabric's own rounds every floating-point input to half precision, in training and not in evaluation: waveforms,
    pixels, positions and targets. Autocast rounds what enters a matrix product or a convolution, and nothing else.
    """

    def convert_input(self, data: Any) -> Any:
        """Return the views as they are."""
        return data

    def convert_output(self, data: Any) -> Any:
        """Return the outcome as it is: losses are in fp32, and watched features are converted where they are read."""
        return data


def precision_plugin(train: Train, accelerator: str) -> Precision:
    """Return what Fabric is given for the precision of a recipe on a device."""
    precision = precision_of(train.precision, accelerator)
    if precision == "32-true":
        return Precision()
    return Autocast(precision, accelerator)  # type: ignore[arg-type]


@contextmanager
def numeric_settings(train: Train) -> Iterator[None]:
    """Set the precision of fp32 products and the choice of deterministic algorithms, for the length of a training.

    `train.matmul_precision` also governs convolutions, which torch would otherwise compute in TF32 by default. The
    settings that were found are restored at the end.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_float32_matmul_precision(train.matmul_precision)
    torch.backends.cudnn.allow_tf32 = train.matmul_precision == "high"
    if train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]
        torch.use_deterministic_algorithms(was_deterministic, warn_only=warns)
