"""Gradient checkpointing: blocks of encoders are computed again in the backward pass, in place of being kept.

Memory then grows by the input of a block in place of all that it computes (Chen et al. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sensorium.errors import RecipeError
from sensorium.models.depth import stack_of

KEY = "train.gradient_checkpointing"


def checkpoint_blocks(encoders: Mapping[str, nn.Module]) -> None:
    """Let the blocks of trained encoders be computed again in the backward pass.

    Call it before a learner of them is compiled or sharded. Blocks keep their names. What a block draws from the global
    generators is drawn again alike.

    Args:
        encoders: modality name -> encoder, changed in place.

    Raises:
        RecipeError: for an encoder whose blocks are not known, or keep running statistics, which a second pass would
            move twice.
    """
    for name, encoder in encoders.items():
        if not any(parameter.requires_grad for parameter in encoder.parameters()):
            continue
        for block in stack_of(encoder, KEY).blocks:
            keeping = (part for part in block.modules() if getattr(part, "running_mean", None) is not None)
            if (statistics := next(keeping, None)) is not None:
                raise RecipeError(
                    f"{KEY} computes each block twice, but blocks of the encoder of '{name}' keep running statistics "
                    f"({type(statistics).__name__}), which a second pass would move again: leave it off."
                )
            plain: Any = type(block)
            if not issubclass(plain, _Checkpointed):
                block.__class__ = _checkpointed_class(plain)


class _Checkpointed:
    """Marks classes of blocks that are computed again."""


@cache
def _checkpointed_class(plain: Any) -> Any:
    """Return the class of modules that compute what those of a class do, again in the backward pass."""

    def forward(self: nn.Module, *given: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return plain.forward(self, *given, **named)
        return checkpoint(plain.forward, self, *given, use_reentrant=False, **named)

    return type(f"Checkpointed{plain.__name__}", (_Checkpointed, plain), {"forward": forward})
