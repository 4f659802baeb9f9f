"""Part "images": SimCLR views of 224 px alone, and steps of a ViT-S/16 with them, beside torchvision and lightly.

All start from the same 256-pixel images in memory. Ours and torchvision's views are made on the device: ours for the
whole batch at once, torchvision's image by image, since its transforms draw once for whatever they are given. lightly's
are made by loader workers on PIL images, as its documentation has it. The model of a step is timm's, with a head of two
layers, AdamW and the precision of a recipe's default; the loss is NT-Xent, of the library that made the views.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import timm
import torch
from image_views import STRENGTHS, images
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sensorium import losses
from sensorium.models.learner import Learner, make_views
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import generator
from sensorium.testing.bare_training import bare_training
from sensorium.training.loop import take_step
from sensorium.types import Record, RecordBatch, record_keys

from .session import Row, Settings, peak_memory, per_second

TEMPERATURE, WIDTH, DIM = 0.2, 2048, 128
MOST_WORKERS = 16
Views = Callable[[], tuple[Tensor, Tensor]]
"""Makes two views of a batch, float32 (B, 3, H, W) in [0, 1], on the device."""


def rows(settings: Settings) -> Iterator[Row]:
    """Yield views alone, then steps, of each library."""
    yield "views, sensorium", partial(our_views, settings)
    for name, make in RIVALS.items():
        yield f"views, {name}", partial(their_views, settings, make)
    yield "step, sensorium", partial(our_step, settings)
    for name, make in RIVALS.items():
        yield f"step, {name}", partial(their_step, settings, make)


def sizes(settings: Settings) -> tuple[int, int, int, str]:
    """Return the sides of an image and of a view, the batch, and the model."""
    return (40, 32, 8, "test_vit") if settings.tiny else (256, 224, 256, "vit_small_patch16_224")


def our_parts(settings: Settings) -> tuple[Any, Any, RecordBatch]:
    """Return the image modality, the view generator and a batch on the device."""
    registry = load_extensions().registry
    source, size, batch, _ = sizes(settings)
    modality = registry.find("modalities", "image").load()(size=size)
    raws = images(source, batch).permute(0, 2, 3, 1).numpy()
    examples = modality.collate([modality.decode(raw) for raw in raws])
    named = [Record(str(i), {}) for i in range(batch)]
    records = RecordBatch([r.id for r in named], {"image": examples}, {"image": None}, record_keys(named))
    return modality, registry.find("views", "simclr", "image").load()(modality), records.to(settings.device)


def our_views(settings: Settings) -> dict[str, Any]:
    """Measure views of a batch on the device."""
    _, views, records = our_parts(settings)
    rng = generator("views", device=settings.device)
    rate = per_second(lambda: make_views(records, {"image": views}, rng), settings)
    return {"images_per_second": rate * len(records)}


def our_step(settings: Settings) -> dict[str, Any]:
    """Measure whole optimizer steps."""
    modality, views, records = our_parts(settings)
    registry, model = load_extensions().registry, sizes(settings)[-1]
    encoder = registry.find("encoders", "timm", "image").load()(modality, model=model)
    objective = registry.find("objectives", "simclr").load()(temperature=TEMPERATURE, width=WIDTH, dim=DIM)
    learner = Learner({"image": encoder}, objective, views=2).train()
    with bare_training(settings.fabric(), learner, {"image": views}, 10**6) as training:
        return rates_of(lambda: take_step(training, 0, [records]), len(records), settings)


def torchvision_views(settings: Settings) -> Views:
    """Return torchvision's views, image by image on the device."""
    from torchvision.transforms import v2

    source, size, batch, _ = sizes(settings)
    view = v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(*STRENGTHS)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(23 if size > 64 else 3, (0.1, 2.0))], 0.5),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    tensors = images(source, batch).to(settings.device)

    def views() -> tuple[Tensor, Tensor]:
        return torch.stack([view(x) for x in tensors]), torch.stack([view(x) for x in tensors])

    return views


def lightly_views(settings: Settings) -> Views:
    """Return lightly's views, made by loader workers and copied to the device."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    source, size, batch, _ = sizes(settings)
    transform = SimCLRTransform(size, normalize=None)
    opened = [Image.fromarray(p) for p in images(source, batch).permute(0, 2, 3, 1).numpy()]
    workers = 0 if settings.tiny else min(os.cpu_count() or 1, MOST_WORKERS)
    loader = DataLoader(
        _Endless(opened, transform), batch, num_workers=workers, pin_memory=settings.device.type == "cuda"
    )
    batches = iter(loader)

    def views() -> tuple[Tensor, Tensor]:
        one, other = next(batches)
        return one.to(settings.device, non_blocking=True), other.to(settings.device, non_blocking=True)

    return views


class _Endless(torch.utils.data.Dataset):
    """Views of the same images again and again."""

    def __init__(self, opened: list[Any], transform: Callable[[Any], list[Tensor]]) -> None:
        self.opened, self.transform = opened, transform

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.opened[index % len(self.opened)])


def their_views(settings: Settings, make: Callable[[Settings], tuple[Views, Any]]) -> dict[str, Any]:
    """Measure the views of another library."""
    views, _ = make(settings)
    return {"images_per_second": per_second(views, settings) * sizes(settings)[2]}


def their_step(settings: Settings, make: Callable[[Settings], tuple[Views, Any]]) -> dict[str, Any]:
    """Measure whole optimizer steps with the views and the loss of another library."""
    views, nt_xent = make(settings)
    _, size, batch, name = sizes(settings)
    encoder = timm.create_model(name, num_classes=0, img_size=size)
    width: Any = encoder.num_features
    head = nn.Sequential(nn.Linear(width, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, DIM))
    model = nn.Sequential(encoder, head).to(settings.device).train()
    on_cuda = settings.device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=on_cuda)
    mean, std = (torch.tensor(v, device=settings.device)[:, None, None] for v in ((0.5,) * 3, (0.5,) * 3))

    def step() -> None:
        x = (torch.cat(views()) - mean) / std
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
            one, other = model(x).chunk(2)
            loss = nt_xent(one, other)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return rates_of(step, batch, settings)


def rates_of(step: Callable[[], object], batch: int, settings: Settings) -> dict[str, Any]:
    """Return the rate of a step, its duration and its memory."""
    rate = per_second(step, settings)
    return {"images_per_second": rate * batch, "ms": 1000 / rate, "gb": peak_memory(step, settings.device)}


def _torchvision(settings: Settings) -> tuple[Views, Any]:
    return torchvision_views(settings), lambda one, other: losses.nt_xent(one.float(), other.float(), TEMPERATURE)


def _lightly(settings: Settings) -> tuple[Views, Any]:
    views = lightly_views(settings)
    from lightly.loss import NTXentLoss

    return views, NTXentLoss(temperature=TEMPERATURE)


RIVALS: dict[str, Callable[[Settings], tuple[Views, Any]]] = {"torchvision v2": _torchvision, "lightly": _lightly}
