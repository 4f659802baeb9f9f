"""Training an encoder and a head on the labels of the train part, one seed at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sensorium.contracts import Encoder
from sensorium.data.loader import Loader
from sensorium.errors import SensoriumError
from sensorium.finetuning.tasks import Task
from sensorium.recipe.schema import Finetune, Optimizer
from sensorium.seeding import seed_globals
from sensorium.training.optimizers import build_optimizer, lr_at, set_lr
from sensorium.types import Batch


class EncoderWithHead(nn.Module):
    """An encoder with a head that answers.

    Args:
        encoder: changed in place.
        answers: K, answers for each record.
        options: width and dropout of the head.
    """

    def __init__(self, encoder: Encoder, answers: int, options: Finetune) -> None:
        super().__init__()
        self.encoder = encoder
        hidden = [nn.Linear(encoder.dim, options.width), nn.ReLU()] if options.width else []
        self.head = nn.Sequential(
            *hidden, nn.Dropout(options.dropout), nn.Linear(options.width or encoder.dim, answers)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return answers (B, K)."""
        return self.head(self.encoder(batch).pooled)

    def freeze(self, frozen: bool) -> None:
        """Hold the encoder still, in evaluation mode, or let it learn."""
        self.encoder.requires_grad_(not frozen)
        self.train()
        if frozen:
            self.encoder.eval()

    @torch.inference_mode()
    def answers(self, batch: Batch) -> Tensor:
        """Return float32 (B, K) in evaluation mode."""
        self.eval()
        return self(batch.to(next(self.head.parameters()).device)).float()


@dataclass(frozen=True)
class BestEpoch:
    """The epoch that was chosen, counted from 1, and the figure of the val part that chose it."""

    epoch: int
    metric: float


def train_model(
    tuned: EncoderWithHead,
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
    """Train to the last epoch, then go back to the epoch that did best on the val part, the first of equals.

    Args:
        tuned: on the device of `fabric`; it ends as it was after the chosen epoch.
        task: fitted to the train part.
        loader: feeds the train part.
        modality: whose batches the encoder takes.
        targets: position in the source -> targets, for every record of the train part.
        on_val: measures on the val part.
        options: the recipe's `finetune`.
        seed: of dropout, whatever draws at random.
        fabric: where, and in which precision.
        report: is given the step and its figures after every epoch.

    Raises:
        SensoriumError: when the loss is no longer finite.
    """
    rates = {
        tuned.encoder: options.optimizer.model_copy(update={"lr": options.encoder_lr}),
        tuned.head: options.optimizer,
    }
    module: Any = fabric.setup_module(tuned)
    optimizers: list[tuple[Any, Optimizer]] = [
        (fabric.setup_optimizers(build_optimizer(part, rate)), rate) for part, rate in rates.items()
    ]
    steps = options.epochs * loader.steps_per_epoch
    sign = -1.0 if task.metric.endswith("↓") else 1.0
    chosen, weights = BestEpoch(0, -sign * float("inf")), {}
    losses: list[Tensor] = []
    for step, (records,) in enumerate(loader.batches(0, steps)):
        if step % loader.steps_per_epoch == 0:
            tuned.freeze(step // loader.steps_per_epoch < options.freeze_epochs)
        seed_globals(seed, "finetune", step)
        wanted_BL = [targets[position] for position in records.positions.tolist()]
        wanted = torch.tensor(wanted_BL, dtype=torch.float32, device=fabric.device)
        loss = task.loss(module(records.batches[modality]).float(), wanted)
        fabric.backward(loss)
        for optimizer, rate in optimizers:
            set_lr(optimizer, lr_at(step, steps, rate))
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
            metrics = on_val(tuned)
            report(step + 1, {"loss": mean, **{f"val/{name}": value for name, value in metrics.items()}})
            if sign * metrics[task.metric] > sign * chosen.metric:
                chosen = BestEpoch((step + 1) // loader.steps_per_epoch, metrics[task.metric])
                weights = copy.deepcopy(tuned.state_dict())
            losses.clear()
    tuned.load_state_dict(weights)
    tuned.freeze(False)
    return chosen
