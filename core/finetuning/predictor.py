"""A fine-tuned model: an encoder, a head, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sensorium.errors import RunError
from sensorium.finetuning.loop import EncoderWithHead
from sensorium.finetuning.tasks import Task, make_task
from sensorium.models.model import Model
from sensorium.recipe.schema import Finetune
from sensorium.registration.discovery import Extensions
from sensorium.runs.atomic import write_atomically
from sensorium.runs.run import Run

WEIGHTS, CONFIG = "head.safetensors", "head.json"


class Predictor:
    """Answers for raw values.

    Args:
        model: a model whose encoder was fine-tuned.
        modality: the modality that it answers for.
        head: encoder and head; the encoder is the model's.
        task: what the answers mean.
        options: how the head was made.
    """

    def __init__(self, model: Model, modality: str, head: EncoderWithHead, task: Task, options: Finetune) -> None:
        self.model, self.modality, self.tuned, self.task, self.options = model, modality, head, task, options

    @torch.inference_mode()
    def predict(self, values: Sequence[Any], batch: int = 256) -> list[Any]:
        """Return for each raw value a number, or class (or label column) -> probability.

        Raises:
            DataError: when a value cannot be decoded.
        """
        pooled = self.model.embed(space="features", batch=batch, **{self.modality: values})[self.modality]
        answers_NK = self.tuned.eval().head(pooled.to(self.model.device)).float().cpu().numpy()
        return [self.task.plain(answers_K) for answers_K in answers_NK]

    def save(self, run: Run) -> None:
        """Write the model, and beside it the head, into a run folder."""
        self.model.save(run.model)
        config = {
            "modality": self.modality,
            "task": self.task.state(),
            "options": self.options.model_dump(mode="json"),
        }
        weights = {name: w.detach().cpu().contiguous() for name, w in self.tuned.head.state_dict().items()}
        text = json.dumps(config, indent=1, ensure_ascii=False)
        write_atomically(run.model / WEIGHTS, lambda path: save_file(weights, path))
        write_atomically(run.model / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))

    @classmethod
    def open(cls, folder: str | Path, extensions: Extensions) -> Predictor:
        """Return the predictor of a run that `sensorium finetune` wrote.

        Raises:
            RunError: when there is none.
        """
        run = Run.open(folder)
        model = Model.open(run.model, extensions)
        try:
            config = json.loads((run.model / CONFIG).read_text(encoding="utf-8"))
            weights = load_file(run.model / WEIGHTS)
        except (OSError, ValueError) as error:
            raise RunError(f"{folder} holds no fine-tuned head ({error}): make one by `sensorium finetune`.") from error
        modality, options = config["modality"], Finetune.model_validate(config["options"])
        task = make_task(options, modality, config["task"]["labels"])
        task.load_state(config["task"])
        tuned = EncoderWithHead(model.learner.encoders[modality], task.width, options)  # type: ignore[arg-type]
        tuned.head.load_state_dict(weights)
        return cls(model, modality, tuned, task, options)
