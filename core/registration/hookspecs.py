"""The hooks that a plugin may implement, and nothing else.

A plugin is a module named by an entry point of group `sensorium`. It implements any of the functions below, marked
with `@sensorium.hookimpl`, and calls `register` once for each thing it brings. A registration is lazy: a name, a
`"module:attribute"` string and a summary; the module behind it is imported when somebody asks for the thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from sensorium.registration.registry import Register

PROJECT = "sensorium"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def sensorium_register_modalities(register: Register) -> None:
    """Register modalities: `register("image", "package.image:ImageModality", summary="...")`."""


@hookspec
def sensorium_register_encoders(register: Register) -> None:
    """Register encoders: `register("resnet", "package.resnet:ResNet", modality="image", summary="...")`."""


@hookspec
def sensorium_register_views(register: Register) -> None:
    """Register view generators: `register("crops", "package.views:Crops", modality="image", summary="...")`."""


@hookspec
def sensorium_register_objectives(register: Register) -> None:
    """Register objectives: `register("simclr", "package.simclr:SimCLR", summary="...")`."""


@hookspec
def sensorium_register_sources(register: Register) -> None:
    """Register sources of records: `register("folder", "package.folder:FolderSource", summary="...")`."""


@hookspec
def sensorium_register_splits(register: Register) -> None:
    """Register splits into train, val and test part: `register("by-year", "package.split:ByYear", summary="...")`."""


@hookspec
def sensorium_register_tokenizers(register: Register) -> None:
    """Register tokenizers of text: `register("wordpiece", "package.wordpiece:WordPiece", summary="...")`."""


@hookspec
def sensorium_register_optimizers(register: Register) -> None:
    """Register optimizers: `register("lion", "package.lion:lion", summary="...")`."""


@hookspec
def sensorium_register_schedules(register: Register) -> None:
    """Register learning rate schedules: `register("cyclic", "package.cyclic:Cyclic", summary="...")`."""


@hookspec
def sensorium_register_callbacks(register: Register) -> None:
    """Register callbacks of the training loop: `register("timer", "package.timer:Timer", summary="...")`."""


@hookspec
def sensorium_register_loggers(register: Register) -> None:
    """Register loggers of metrics: `register("influx", "package.influx:Influx", summary="...")`."""


@hookspec
def sensorium_register_evaluators(register: Register) -> None:
    """Register evaluators: `register("knn", "package.knn:KNN", summary="...")`."""


@hookspec
def sensorium_register_protocols(register: Register) -> None:
    """Register evaluation protocols: `register("bootstrap", "package.bootstrap:Bootstrap", summary="...")`."""


@hookspec
def sensorium_register_tasks(register: Register) -> None:
    """Register fine-tuning tasks: `register("ordinal", "package.ordinal:Ordinal", summary="...")`."""


@hookspec
def sensorium_register_exporters(register: Register) -> None:
    """Register exporters of runs: `register("onnx", "package.onnx:ONNX", summary="...")`."""


@hookspec
def sensorium_register_recipes(register: Register) -> None:
    """Register recipes: `register("image-text", "package.recipes:image-text.yaml", summary="...")`.

    The target names a package and a YAML file in it.
    """


@hookspec
def sensorium_register_commands(register: Register) -> None:
    """Register commands of the `sensorium` program: `register("serve", "package.serve:command", summary="...")`.

    The target is a function with typer annotations; its name on the command line is the registered name.
    """
