"""Opening what a run learned: its model, its encoders, its predictor; writing it for other libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sensorium.api.run_parts import extensions_of
from sensorium.contracts import Encoder, Modality, Source
from sensorium.devices import find_device
from sensorium.exporters.encoders import read_encoder
from sensorium.exporters.writing import write_export
from sensorium.finetuning.predictor import Predictor
from sensorium.models.given import require_given
from sensorium.models.model import Model
from sensorium.models.plan import Plan, make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.blame import naming_plugins
from sensorium.registration.discovery import Extensions, load_extensions
from sensorium.registration.options import check_options
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run


@naming_plugins
def load(
    run: str | Path,
    checkpoint: str = "final",
    extensions: Extensions | None = None,
    device: str = "auto",
    **handed_in: Any,
) -> Model:
    """Return the model of a run.

    Args:
        run: the run folder.
        checkpoint: "final" for the exported model, "best" or "last" for a checkpoint, or a step number.
        extensions: plugins, when not those that are installed.
        device: "auto" for CUDA where there is one and the CPU otherwise, or "cpu", "cuda", "cuda:1", ...
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        RunError: when the run holds no such model.
        RecipeError: when it needs objects that were handed in to its training, and are not now.
    """
    opened = Run.open(run)
    extensions = extensions_of(opened, extensions or load_extensions(), handed_in)
    if checkpoint == "final":
        model = Model.open(opened.model, extensions)
    else:
        plan = make_plan(read_recipe(opened.recipe_file, extensions.registry), extensions)
        read = Checkpoints(opened.checkpoints, plan.recipe.checkpoint.keep).read(checkpoint)
        model = Model.untrained(plan, opened.kept_state).load_weights(read.weights(), f"checkpoint {checkpoint}")
        model.adapters = read.adapters()
    model.run = opened
    return model.to(find_device(device, "device"))


@naming_plugins
def export(
    run: str | Path,
    folder: str | Path,
    format: str = "encoders",
    *,
    options: Mapping[str, Any] | None = None,
    checkpoint: str = "final",
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> str:
    """Write what a run learned as files that others read, and a model card, README.md, beside them.

    The library that a format is for loads the files at once: what it computes is what the model computes, or the export
    fails and leaves nothing behind. The largest difference stands in the card.

    Args:
        run: the run folder.
        folder: the folder to write, new or empty.
        format: the name of an exporter; `sensorium list exporters` shows them.
        options: those of the exporter, such as {"dtype": "float16"}; `sensorium list exporters NAME` shows them.
        checkpoint: as in `load`.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Returns:
        The lines of Python that load what was written.

    Raises:
        RecipeError: for an option that the exporter does not have, or a value that it cannot have.
        SensoriumError: when the folder is not empty, the run cannot be written so, or what was written computes
            something else.
    """
    extensions = extensions or load_extensions()
    cls = extensions.registry.find("exporters", format).load()
    exporter = cls(**check_options(cls, options or {}, "options", name=format))
    model = load(run, checkpoint, extensions, device="cpu", **handed_in)
    return write_export(exporter, model, Path(folder), extensions.registry)


def load_encoder(
    folder: str | Path,
    name: str | None = None,
    extensions: Extensions | None = None,
    **handed_in: Any,
) -> tuple[Modality, Encoder]:
    """Return a modality and its encoder, out of what `export` wrote in the format "encoders".

    The encoder of an aligned run has a module `joint_projection`: it maps pooled features (B, E) to the joint space
    (B, D), in which `Model.embed` returns them.

    Args:
        folder: the folder.
        name: the modality's name; None takes the only one.
        extensions: plugins, when not those that are installed.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        RunError: when the folder holds no such encoder.
    """
    return read_encoder(Path(folder), name, extensions or load_extensions(), handed_in)


def load_predictor(
    run: str | Path, extensions: Extensions | None = None, device: str = "auto", **handed_in: Any
) -> Predictor:
    """Return what predicts, out of a folder that `finetune` wrote.

    Args:
        run: the folder.
        extensions: plugins, when not those that are installed.
        device: as in `load`.
        handed_in: what was handed in to the `fit` of the run, by the same names: `encoder=...`, `objective=...`.

    Raises:
        RunError: when there is none.
    """
    extensions = extensions_of(Run.open(run), extensions or load_extensions(), handed_in)
    return Predictor.open(run, extensions).to(find_device(device, "device"))


def open_run(
    run: str | Path,
    overrides: Sequence[str],
    checkpoint: str,
    source: Any,
    extensions: Extensions | None,
    evaluators: Mapping[str, Any],
    device: torch.device,
    handed_in: Mapping[str, Any],
    reference: Mapping[str, Any] | None = None,
) -> tuple[Model, Plan, Source]:
    """Return a run's model on a device, and the changed recipe's parts and source.

    Evaluators and reference set are those given, plain values, in place of the recipe's.
    """
    extensions = extensions_of(Run.open(run), extensions or load_extensions(), handed_in)
    model = load(run, checkpoint, extensions, str(device))
    assert model.run is not None
    plain = read_recipe(model.run.recipe_file, extensions.registry, overrides).plain()
    plain["evaluate"] |= {"evaluators": dict(evaluators), "reference": reference}
    recipe = read_recipe(plain, extensions.registry)
    require_given(recipe, extensions.registry, ["evaluators"])
    plan = make_plan(recipe, extensions)
    for name, modality in plan.modalities.items():
        modality.load_state(model.plan.modalities[name].state())
    return Model(plan, model.learner, model.run), plan, plan.open_source(source)
