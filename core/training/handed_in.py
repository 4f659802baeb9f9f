"""Modules and functions that were handed in, tried on the first records: how wide they are, how they draw."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sensorium.data.loader import Loader
from sensorium.errors import RecipeError
from sensorium.models.plain_parts import FunctionViews, ModuleEncoder, TokenModuleEncoder, shown
from sensorium.models.plan import Plan
from sensorium.registration.registry import one_line
from sensorium.seeding import generator
from sensorium.types import Batch

log = logging.getLogger("sensorium")
TOKENS_SAID = ", and its encode_tokens with sensorium.Tokens, whose x are the tokens (B, T, D)"


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
            f"sensorium.Batch for the batch itself{TOKENS_SAID if isinstance(encoder, TokenModuleEncoder) else ''}."
        ) from error
    if isinstance(encoder, TokenModuleEncoder) and encoder.is_causal and not _is_causal(encoder, batch):
        raise RecipeError(
            f"The encoder of '{name}', {type(encoder.module).__name__}, says is_causal, but its tokens change with "
            "those after them: mask its attention, or leave is_causal out."
        )
    sizes = {"dim": features.pooled.shape[1]}
    if features.tokens is not None:
        sizes["token_dim"] = features.tokens.shape[2]
    if isinstance(encoder, TokenModuleEncoder) and targets is not None:
        sizes["target_dim"] = encoder.target_dim or (targets.shape[2] if targets.is_floating_point() else 0)
    return sizes


def _is_causal(encoder: TokenModuleEncoder, batch: Batch) -> bool:
    """Return whether the tokens of a batch are the same when the last of them is another."""
    tokens = encoder.tokenize(batch)
    before = encoder.encode_tokens(tokens).tokens
    changed = tokens.x.clone()
    changed[:, -1] += 1
    after = encoder.encode_tokens(replace(tokens, x=changed)).tokens
    return before is None or after is None or torch.allclose(before[:, :-1], after[:, :-1], atol=1e-4)


def note_learning_rate(plan: Plan, groups: Sequence[Mapping[str, Any]]) -> bool:
    """Note in a plan's recipe the learning rate and weight decay of an optimizer that was handed in.

    Args:
        plan: the parts.
        groups: the parameter groups of its optimizer.

    Returns:
        Whether there was anything to note.
    """
    settings = plan.recipe.optimizer
    if settings.handed_in is None:
        return False
    first = {key: float(groups[0][key]) for key in ("lr", "weight_decay") if key in groups[0]}
    noted = settings.model_copy(update=first)
    plan.recipe = plan.recipe.model_copy(update={"optimizer": noted})
    return noted != settings


def warn_of_joint_draws(plan: Plan, loader: Loader) -> None:
    """Warn of a function of views that draws once for a batch, so that all of its records are augmented alike."""
    for name, generator_of in plan.generators.items():
        if not isinstance(generator_of, FunctionViews):
            continue
        example = loader.example(name)
        twice = example.select(torch.zeros(2, dtype=torch.int64))
        drawn = [_rows(generator_of(twice, generator("draws", draw))[0].batch) for draw in range(2)]
        if all(_equal(first, second) for first, second in drawn) and not _equal(drawn[0][0], drawn[1][0]):
            log.warning(
                "The function of views of '%s' draws once for a whole batch, so that all of its records are augmented "
                "alike: draw for each record, as in torch.stack([transform(x) for x in batch]).",
                name,
            )


def _rows(batch: Batch) -> list[list[Tensor]]:
    """Return the tensors of the two rows of a batch."""
    return [list(batch.select(torch.tensor([row])).tensors().values()) for row in range(2)]


def _equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))
