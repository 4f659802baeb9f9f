"""A training that ran out of memory: which, and what of its recipe to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sensorium.errors import TrainingError
from sensorium.recipe import Recipe

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""By this name torch says that the host has no memory left."""


@contextmanager
def memory_advised(recipe: Recipe) -> Iterator[None]:
    """Let an error about memory that ran out, of the device or of the host, be one about the recipe.

    Raises:
        TrainingError: with what would save some.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (advised := out_of_memory(error, recipe)) is None:
            raise
        raise advised from error


def out_of_memory(error: BaseException, recipe: Recipe) -> TrainingError | None:
    """Return the sentence about memory that ran out, with what would save some; None of any other error."""
    if isinstance(error, torch.OutOfMemoryError):
        where, advice = "device", _for_the_device(recipe)
    elif isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and CPU_ALLOCATOR in str(error)):
        where, advice = "host", _for_the_host(recipe)
    else:
        return None
    said = " ".join(str(error).split()).partition(" If reserved but")[0].rstrip(".") or type(error).__name__
    return TrainingError(f"The memory of the {where} ran out ({said}): {', or '.join(advice)}.")


def _for_the_device(recipe: Recipe) -> list[str]:
    train, advice = recipe.train, []
    if recipe.data.cache == "device":
        advice.append("set data.cache to ram or off")
    if train.precision == "32-true":
        advice.append("set train.precision=bf16-mixed")
    if not train.gradient_checkpointing:
        advice.append("set train.gradient_checkpointing=true, which costs about a third more time")
    if not train.gradient_cache:
        parts = 2 * train.accumulate
        advice.append(
            f"set train.accumulate={parts} train.gradient_cache=true, which keeps the loss of the whole batch"
        )
    return [*advice, f"set data.batch lower than {recipe.data.batch}"]


def _for_the_host(recipe: Recipe) -> list[str]:
    advice = []
    if recipe.data.cache == "ram":
        advice.append("set data.cache=off")
    if recipe.train.accelerator == "cpu":
        return [*advice, f"set data.batch lower than {recipe.data.batch}"]
    if recipe.data.workers:
        advice.append("set data.workers lower: each holds batches of its own")
    return [*advice, f"set data.batch lower than {recipe.data.batch}"]
