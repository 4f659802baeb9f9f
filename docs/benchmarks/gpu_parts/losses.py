"""Part "losses": forward and backward of CLIP's loss on many pairs, beside open_clip's, in fp32 and under autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .session import Row, Settings, peak_memory, per_second

PAIRS = (8_192, 16_384, 32_768, 65_536, 131_072)
TINY = (64, 256)
WIDTH, SCALE = 512, 100.0


def rows(settings: Settings) -> Iterator[Row]:
    """Yield both losses for every number of pairs and both precisions."""
    for count in TINY if settings.tiny else PAIRS:
        for precision in ("fp32", "bf16 autocast"):
            for name, make in CONTENDERS.items():
                yield f"{count:,} pairs, {precision}, {name}", partial(measure, settings, count, precision, make)


def measure(settings: Settings, count: int, precision: str, make: Callable[[], Any]) -> dict[str, Any]:
    """Measure one loss on drawn unit rows."""
    loss, device = make(), settings.device
    rng = torch.Generator(device=device).manual_seed(0)
    x, y = (
        torch.nn.functional.normalize(torch.randn(count, WIDTH, generator=rng, device=device), dim=1) for _ in range(2)
    )
    leaves = [x.requires_grad_(), y.requires_grad_(), torch.tensor(SCALE, device=device, requires_grad=True)]

    def step() -> Tensor:
        for leaf in leaves:
            leaf.grad = None
        with torch.autocast(device.type, torch.bfloat16, enabled=precision != "fp32"):
            value = loss(*leaves)
        value.backward()
        return value

    try:
        value, memory = float(step().detach()), peak_memory(step, device)
        return {"ms": 1000 / per_second(step, settings), "gb": memory, "loss": value}
    finally:
        leaves.clear()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _ours() -> Any:
    from sensorium import losses

    return losses.clip


def _open_clip() -> Any:
    from open_clip.loss import ClipLoss

    return ClipLoss()


CONTENDERS: dict[str, Callable[[], Any]] = {"sensorium": _ours, "open_clip": _open_clip}
