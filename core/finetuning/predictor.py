"""Predictions of a fine-tuned model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sensorium.contracts import Task
from sensorium.errors import RunError
from sensorium.finetuning.loop import EncoderWithHead
from sensorium.finetuning.tasks import make_task
from sensorium.models.makers import maker
from sensorium.models.model import Model
from sensorium.recipe.reading import validated
from sensorium.recipe.schema import Finetune
from sensorium.registration.discovery import Extensions
from sensorium.registration.registry import one_line
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run

WEIGHTS, CONFIG = "head.safetensors", "head.json"


class Predictor:
    """Predicts labels of raw values.

    Args:
        model: a model with a fine-tuned encoder.
        modality: the modality of that encoder.
        finetuned: the encoder, which is the model's, with its head.
        task: turns outputs into predictions.
        options: the options of the head.
        temperature: what outputs are divided by before they are predictions; 1 leaves them as they are.
    """

    def __init__(
        self,
        model: Model,
        modality: str,
        finetuned: EncoderWithHead,
        task: Task,
        options: Finetune,
        temperature: float = 1.0,
    ) -> None:
        self.model, self.modality, self.finetuned, self.task, self.options = model, modality, finetuned, task, options
        self.temperature = temperature

    def __repr__(self) -> str:
        labels = ", ".join(self.task.state()["labels"])
        return f"Predictor({self.options.task} of {labels} from {self.modality}; {self.model!r})"

    @torch.inference_mode()
    def predict(self, values: Sequence[Any], batch: int = 256) -> list[Any]:
        """Return the prediction for each raw value: a number, or class (or label column) -> probability.

        Values are taken as `Model.embed` takes them: one stands for a list of one.

        Raises:
            DataError: when a value cannot be decoded.
        """
        pooled = self.model.embed(space="features", batch=batch, **{self.modality: values})[self.modality]
        outputs_NK = self.finetuned.eval().head(pooled.to(self.model.device)).cpu().numpy()
        return self.predictions(outputs_NK)

    def predictions(self, outputs_NK: np.ndarray) -> list[Any]:
        """Return what outputs of the head, float32 (N, K), predict, as `predict`."""
        return [self.task.to_prediction(outputs_K) for outputs_K in outputs_NK / np.float32(self.temperature)]

    def to(self, device: torch.device | str) -> Predictor:
        """Move the weights; returns the predictor itself."""
        self.model.to(device)
        self.finetuned.to(device)
        return self

    def save(self, run: Run) -> None:
        """Write the model and its head into a run folder."""
        self.model.save(run.model)
        config = {
            "modality": self.modality,
            "task": self.task.state(),
            "options": self.options.model_dump(mode="json"),
            "temperature": self.temperature,
        }
        weights = {name: w.detach().cpu().contiguous() for name, w in self.finetuned.head.state_dict().items()}
        text = json.dumps(config, indent=1, ensure_ascii=False)
        write_atomically(run.model / WEIGHTS, lambda path: save_file(weights, path))
        write_atomically(run.model / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))

    @classmethod
    def open(cls, folder: str | Path, extensions: Extensions) -> Predictor:
        """Return the predictor of a run that `sensorium finetune` wrote.

        Raises:
            RunError: when the run has no fine-tuned head.
        """
        require_head(Run.open(folder))
        model = Model.open(Run.open(folder).model, extensions)
        return cls.of(model, Run.open(folder), extensions)

    @classmethod
    def of(cls, model: Model, run: Run, extensions: Extensions) -> Predictor:
        """Return the predictor of a run whose model is open, on its device.

        Raises:
            RunError: when the run has no fine-tuned head, or one that cannot be read.
        """
        require_head(run)
        try:
            config = json.loads((run.model / CONFIG).read_text(encoding="utf-8"))
            weights = load_file(run.model / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise RunError(f"The fine-tuned head in {run.model} cannot be read: {one_line(error)}.") from error
        modality, options = config["modality"], validated(Finetune, config["options"], str(run.model / CONFIG))
        task = make_task(
            maker(extensions.registry, "tasks", options.task, "finetune.task"),
            options,
            modality,
            config["task"]["labels"],
        )
        task.load_state(config["task"])
        precision = model.plan.recipe.train.precision
        finetuned = EncoderWithHead(model.learner.encoder(modality), task.output_dim, options, precision)
        finetuned.head.load_state_dict(weights)
        finetuned.to(model.device)
        return cls(model, modality, finetuned, task, options, config.get("temperature", 1.0))


def require_head(run: Run) -> None:
    """Raise an error for a run without a fine-tuned head.

    Raises:
        RunError: which says what makes one, or in which folder there is one.
    """
    if (run.model / CONFIG).is_file() and (run.model / WEIGHTS).is_file():
        return
    made = sorted(path.parents[1] for path in run.folder.glob(f"*/{run.model.name}/{CONFIG}"))
    if made:
        raise RunError(f"{run.folder} has no fine-tuned head, but {made[-1]}, which was fine-tuned from it: name that.")
    raise RunError(
        f"{run.folder} has no fine-tuned head: `sensorium finetune {run.folder}` makes one, in a folder of its own."
    )
