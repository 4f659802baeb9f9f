"""The training loop of fine-tuning: encoder and head, one seed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sensorium.contracts import Encoder
from sensorium.data.loader import Loader
from sensorium.devices import evaluation_autocast, to_device
from sensorium.errors import SensoriumError
from sensorium.finetuning.tasks import Task
from sensorium.recipe.schema import Finetune, Optimizer
from sensorium.seeding import seed_globals
from sensorium.training.optimizers import build_optimizer, lr_at, set_lr
from sensorium.types import Batch


class EncoderWithHead(nn.Module):
    """An encoder with a prediction head.

    Args:
        encoder: trained in place.
        outputs: K, the number of outputs.
        options: width and dropout of the head.
        precision: `train.precision` of the recipe.
    """

    def __init__(self, encoder: Encoder, outputs: int, options: Finetune, precision: str) -> None:
        super().__init__()
        self.encoder, self.precision = encoder, precision
        hidden = [nn.Linear(encoder.dim, options.width), nn.ReLU()] if options.width else []
        self.head = nn.Sequential(
            *hidden, nn.Dropout(options.dropout), nn.Linear(options.width or encoder.dim, outputs)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return outputs (B, K)."""
        return self.head(self.encoder(batch).pooled)

    def freeze(self, frozen: bool) -> None:
        """Freeze the encoder, in eval mode, or unfreeze it."""
        self.encoder.requires_grad_(not frozen)
        self.train()
        if frozen:
            self.encoder.eval()

    @torch.inference_mode()
    def outputs(self, batch: Batch) -> Tensor:
        """Return outputs, float32 (B, K), in eval mode; on CUDA the encoder runs in the precision of its training."""
        self.eval()
        device = next(self.head.parameters()).device
        with evaluation_autocast(self.precision, device):
            pooled = self.encoder(batch.to(device, non_blocking=True)).pooled
        return self.head(pooled.float())


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch, counted from 1, and its metric on the val part."""

    epoch: int
    metric: float


def train_model(
    model: EncoderWithHead,
    task: Task,
    loader: Loader,
    modality: str,
    targets: Mapping[int, Sequence[float]],
    on_val: Callable[[EncoderWithHead], Mapping[str, float]],
    options: Finetune,
    seed: int,
    fabric: Fabric,
    report: Callable[[int, dict[str, float]], None],
) -> BestEpoch:
    """Train all epochs, then restore the epoch with the best metric on the val part, the first of equals.

    Args:
        model: on the device of `fabric`; it ends with the weights of the best epoch.
        task: fitted to the train part.
        loader: loads the train part.
        modality: the modality of the encoder.
        targets: position in the source, ascending -> targets, for every record of the train part.
        on_val: returns the metrics on the val part.
        options: the recipe's `finetune`.
        seed: of dropout and other random draws.
        fabric: device and precision.
        report: called with the step and its metrics after every epoch.

    Raises:
        SensoriumError: when the loss is not finite.
    """
    settings = {
        model.encoder: options.optimizer.model_copy(update={"lr": options.encoder_lr}),
        model.head: options.optimizer,
    }
    module: Any = fabric.setup_module(model)
    optimizers: list[tuple[Any, Optimizer]] = [
        (fabric.setup_optimizers(build_optimizer(part, setting)), setting) for part, setting in settings.items()
    ]
    positions_N, targets_NL = np.array(list(targets)), np.array(list(targets.values()), np.float32)
    steps = options.epochs * loader.steps_per_epoch
    sign = -1.0 if task.metric.endswith("↓") else 1.0
    best, weights = BestEpoch(0, -sign * float("inf")), {}
    losses: list[Tensor] = []
    for step, (records,) in enumerate(loader.batches(0, steps)):
        if step % loader.steps_per_epoch == 0:
            model.freeze(step // loader.steps_per_epoch < options.freeze_epochs)
        seed_globals(seed, "finetune", step)
        rows = np.searchsorted(positions_N, records.positions)
        (targets_BL,) = to_device([targets_NL[rows]], fabric.device)
        loss = task.loss(module(records.batches[modality]).float(), targets_BL)
        fabric.backward(loss)
        for optimizer, setting in optimizers:
            set_lr(optimizer, lr_at(step, steps, setting))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        if (step + 1) % loader.steps_per_epoch == 0:
            mean = float(torch.stack(losses).mean())
            if mean != mean or abs(mean) == float("inf"):
                raise SensoriumError(
                    f"The loss became {mean} before step {step + 1}: "
                    "lower finetune.optimizer.lr and finetune.encoder_lr."
                )
            metrics = on_val(model)
            report(step + 1, {"loss": mean, **{f"val/{name}": value for name, value in metrics.items()}})
            if sign * metrics[task.metric] > sign * best.metric:
                best = BestEpoch((step + 1) // loader.steps_per_epoch, metrics[task.metric])
                weights = copy.deepcopy(model.state_dict())
            losses.clear()
    model.load_state_dict(weights)
    model.freeze(False)
    return best
