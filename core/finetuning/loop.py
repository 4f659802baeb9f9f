"""The training loop of fine-tuning: encoder and head, one seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sensorium.contracts import Encoder, Task
from sensorium.data.loader import Loader
from sensorium.devices import evaluation_autocast, to_device
from sensorium.errors import SensoriumError
from sensorium.finetuning.linear_probe import LinearProbe
from sensorium.models.depth import rate_factors
from sensorium.models.optimization import Optimization
from sensorium.recipe.schema import Finetune
from sensorium.seeding import seed_globals
from sensorium.training.learning_rate import LearningRate
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
        self.mean_D: Tensor = nn.Buffer(torch.zeros(encoder.dim))
        self.std_D: Tensor = nn.Buffer(torch.ones(encoder.dim))

    @torch.no_grad()
    def start_from(self, probe: LinearProbe) -> None:
        """Standardize features as the linear probe did, and set a linear head to it; a hidden layer stays random."""
        self.mean_D.copy_(torch.from_numpy(probe.mean_D))
        self.std_D.copy_(torch.from_numpy(probe.std_D))
        first = self._first_layer()
        if first is self.head[-1]:
            first.weight.copy_(torch.from_numpy(probe.weight_KD * probe.std_D))
            first.bias.copy_(torch.from_numpy(probe.bias_K + probe.weight_KD @ probe.mean_D))

    @torch.no_grad()
    def merge_standardization(self) -> None:
        """Put the standardization into the first layer of the head, which then takes features as they are."""
        first = self._first_layer()
        first.weight.div_(self.std_D)
        first.bias.sub_(first.weight @ self.mean_D)
        self.mean_D.zero_()
        self.std_D.fill_(1.0)

    def forward(self, batch: Batch) -> Tensor:
        """Return outputs (B, K)."""
        return self._predict(self.encoder(batch).pooled)

    def freeze(self, frozen: bool, batch_norm: bool = False) -> None:
        """Freeze the encoder, in eval mode, or unfreeze it, but for the statistics of its batch norms if these stay."""
        self.encoder.requires_grad_(not frozen)
        self.train()
        if frozen:
            self.encoder.eval()
        for module in self.encoder.modules() if batch_norm else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    @torch.inference_mode()
    def features(self, batch: Batch) -> Tensor:
        """Return features, float32 (B, D), in eval mode; on CUDA the encoder runs in the precision of its training."""
        self.eval()
        device = next(self.head.parameters()).device
        with evaluation_autocast(self.precision, device):
            return self.encoder(batch.to(device, non_blocking=True)).pooled.float()

    @torch.inference_mode()
    def outputs(self, batch: Batch) -> Tensor:
        """Return outputs, float32 (B, K), of the features, in eval mode."""
        return self._predict(self.features(batch))

    def _first_layer(self) -> nn.Linear:
        return next(layer for layer in self.head if isinstance(layer, nn.Linear))

    def _predict(self, pooled_BD: Tensor) -> Tensor:
        return self.head((pooled_BD - self.mean_D) / self.std_D)


@dataclass(frozen=True)
class Epoch:
    """The end of an epoch: its number, counted from 1, the steps so far, and the mean loss."""

    number: int
    step: int
    loss: float


def train_epochs(
    model: EncoderWithHead,
    task: Task,
    loader: Loader,
    modality: str,
    targets: Mapping[int, Sequence[float]],
    options: Finetune,
    optimization: Optimization,
    encoder_lr: float,
    seed: int,
    fabric: Fabric,
) -> Iterator[Epoch]:
    """Train, and yield after every epoch.

    Args:
        model: on the device of `fabric`.
        task: fitted to the train part.
        loader: loads the records to train on.
        modality: the modality of the encoder.
        targets: position in the source, ascending -> targets, for every record of the loader.
        options: the recipe's `finetune`.
        optimization: of the head.
        encoder_lr: peak learning rate of the encoder.
        seed: of dropout and other random draws.
        fabric: device and precision.

    Raises:
        SensoriumError: when the loss is not finite.
    """
    module: Any = fabric.setup_module(model)
    steps = options.epochs * loader.steps_per_epoch
    optimizers: list[tuple[Any, LearningRate]] = []
    decay, factors = options.layer_decay, {}
    if decay is not None:
        factors = rate_factors(model.encoder, decay, "finetune.layer_decay")
    for part, its in ((model.encoder, optimization.with_lr(encoder_lr)), (model.head, optimization)):
        optimizer: Any = fabric.setup_optimizers(its.optimizer(part, factors=factors))
        optimizers.append((optimizer, LearningRate(optimizer.optimizer, its, steps)))
    positions_N, targets_NL = np.array(list(targets)), np.array(list(targets.values()), np.float32)
    losses: list[Tensor] = []
    for step, (records,) in enumerate(loader.batches(0, steps)):
        if step % loader.steps_per_epoch == 0:
            model.freeze(step // loader.steps_per_epoch < options.freeze_epochs, options.freeze_batch_norm)
        seed_globals(seed, "finetune", step)
        rows = np.searchsorted(positions_N, records.positions)
        (targets_BL,) = to_device([targets_NL[rows]], fabric.device)
        loss = task.loss(module(records.batches[modality]).float(), targets_BL)
        fabric.backward(loss)
        for optimizer, lr in optimizers:
            lr.set(step)
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
            yield Epoch((step + 1) // loader.steps_per_epoch, step + 1, mean)
            losses.clear()
