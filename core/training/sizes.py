"""Widths of plain modules, measured on one batch."""

from __future__ import annotations

from typing import Any

import torch

from sensorium.data.loader import Loader
from sensorium.errors import RecipeError
from sensorium.models.plain_parts import ModuleEncoder, TokenModuleEncoder, shown
from sensorium.models.plan import Plan
from sensorium.registration.registry import one_line
from sensorium.seeding import generator
from sensorium.types import Batch


def measure_modules(plan: Plan, loader: Loader) -> bool:
    """Measure the widths of encoders around plain modules, and note them in the plan's recipe.

    Args:
        plan: the parts; its modalities are fitted.
        loader: has the records.

    Returns:
        Whether there were any to measure.

    Raises:
        RecipeError: when a module cannot encode a batch.
    """
    towers = dict(plan.recipe.modalities)
    for name, tower in towers.items():
        maker = plan.encoders[name]
        if tower.encoder.share is not None or not issubclass(maker.cls, ModuleEncoder) or maker.options:
            continue
        rng = generator(plan.recipe.seed, "sizes of modules")
        batch = plan.generators[name](loader.example(name), rng)[0].batch
        with torch.random.fork_rng(devices=[]):
            sizes = _sizes(name, maker(), batch)
        for sharing, owner in plan.recipe.sharing.items():
            if owner == name:
                plan.encoders[sharing] = maker.with_options(**sizes)
        encoder = tower.encoder.model_copy(update=sizes)
        towers[name] = tower.model_copy(update={"encoder": encoder})
    if towers == plan.recipe.modalities:
        return False
    plan.recipe = plan.recipe.model_copy(update={"modalities": towers})
    return True


@torch.no_grad()
def _sizes(name: str, encoder: Any, batch: Batch) -> dict[str, int]:
    """Return the widths of an encoder around a plain module, as its options."""
    if not isinstance(encoder, ModuleEncoder):
        return {}
    encoder.eval()
    try:
        features = encoder(batch)
        targets = encoder.token_targets(batch) if hasattr(encoder.module, "token_targets") else None
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(
            f"The encoder of '{name}', {type(encoder.module).__name__}, cannot encode a batch: {one_line(error)}. "
            f"It is called with {shown(batch.as_tensor())}; annotate the first argument of its forward as a "
            "sensorium.Batch for the batch itself."
        ) from error
    sizes = {"dim": features.pooled.shape[1]}
    if features.tokens is not None:
        sizes["token_dim"] = features.tokens.shape[2]
    if isinstance(encoder, TokenModuleEncoder) and targets is not None:
        sizes["target_dim"] = encoder.target_dim or (targets.shape[2] if targets.is_floating_point() else 0)
    return sizes
