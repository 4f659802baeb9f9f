"""Encoders by depth: learning rates that decay with it, weights and modules that are frozen up to it.

The layers of an encoder of L blocks have the numbers 0 (embeddings, positions, class and register tokens: whatever lies
before the blocks), 1 to L (its blocks) and L + 1 (what is behind them).
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from sensorium.blocks.lora import is_adapted
from sensorium.contracts import Encoder, LayerStack
from sensorium.errors import RecipeError


def tells_layers(cls: type[Encoder]) -> bool:
    """Return whether encoders of a class say what their layers are."""
    return cls.layer_stack is not Encoder.layer_stack


def stack_of(encoder: nn.Module, key: str) -> LayerStack:
    """Return the layers of an encoder.

    Args:
        encoder: the encoder.
        key: the key of the recipe that asks for them, for errors.

    Raises:
        RecipeError: when the encoder has none.
    """
    stack = encoder.layer_stack() if isinstance(encoder, Encoder) else None
    if stack is None:
        raise RecipeError(f"{without_layers(key, type(encoder).__name__)}.")
    return stack


def without_layers(key: str, encoder: str) -> str:
    """Return the sentence for an encoder without layers."""
    return (
        f"{key} goes by the layers of the encoder, and {encoder} does not say which they are: set it to null, or "
        "define Encoder.layer_stack, which returns a sensorium.LayerStack of its blocks and of what is behind them"
    )


def layer_numbers(encoder: nn.Module, stack: LayerStack) -> dict[int, int]:
    """Return the number of the layer of each parameter, by its identity; of one in several layers, the last of them."""
    numbers = {id(parameter): 0 for parameter in encoder.parameters()}
    for number, block in enumerate(stack.blocks, 1):
        numbers.update({id(parameter): number for parameter in block.parameters()})
    numbers.update({id(parameter): len(stack.blocks) + 1 for parameter in stack.parameters_behind()})
    return numbers


def rate_factors(encoder: nn.Module, decay: float, key: str) -> dict[int, float]:
    """Return the factor of the learning rate of each parameter, by its identity: decay^(L + 1 - its layer).

    Args:
        encoder: the encoder.
        decay: in (0, 1]; what is behind the blocks has the factor 1, the last block `decay`.
        key: of the recipe, for errors.

    Raises:
        RecipeError: when the encoder has no layers.
    """
    stack = stack_of(encoder, key)
    last = len(stack.blocks) + 1
    return {number: decay ** (last - layer) for number, layer in layer_numbers(encoder, stack).items()}


def freeze(encoder: nn.Module, frozen: bool | int, key: str) -> None:
    """Freeze weights of an encoder; what it has frozen itself stays so.

    Args:
        encoder: the encoder.
        frozen: True for all of it, or a number of blocks, together with what lies before them.
        key: of the recipe, for errors.

    Raises:
        RecipeError: when the encoder has no layers, or fewer blocks.
    """
    if isinstance(frozen, bool):
        if frozen:
            encoder.requires_grad_(False)
        return
    stack = stack_of(encoder, key)
    if frozen > len(stack.blocks):
        raise RecipeError(
            f"{key} is {frozen}, but the encoder {type(encoder).__name__} has {len(stack.blocks)} blocks: give a "
            "smaller number, or true for the whole encoder."
        )
    numbers = layer_numbers(encoder, stack)
    for parameter in encoder.parameters():
        if numbers[id(parameter)] <= frozen:
            parameter.requires_grad_(False)


def rest_frozen(encoder: nn.Module) -> None:
    """Put what is frozen of an encoder into evaluation mode: without dropout, running statistics as they are."""
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        encoder.eval()
        return
    for module in _frozen_modules(encoder):
        module.training = False


def _frozen_modules(encoder: nn.Module) -> Iterator[nn.Module]:
    """Iterate over modules that rest while others are trained.

    An encoder with adapters trains as a whole, but for its running statistics.
    """
    adapted = is_adapted(encoder)
    for module in encoder.modules():
        parameters = list(module.parameters())
        if not parameters or any(parameter.requires_grad for parameter in parameters):
            continue
        if not adapted:
            yield from module.modules()
        elif hasattr(module, "running_mean"):
            yield module
    if not adapted:
        yield from _beside_frozen_embeddings(encoder)


def _beside_frozen_embeddings(encoder: nn.Module) -> Iterator[nn.Module]:
    """Iterate over modules without weights before the blocks, such as a dropout, where all weights are frozen."""
    stack = encoder.layer_stack() if isinstance(encoder, Encoder) else None
    if stack is None:
        return
    numbers = layer_numbers(encoder, stack)
    before = [parameter for parameter in encoder.parameters() if numbers[id(parameter)] == 0]
    if before and not any(parameter.requires_grad for parameter in before):
        inside = {id(module) for block in stack.blocks for module in block.modules()}
        inside.update(map(id, stack.modules_behind()))
        for module in encoder.modules():
            if id(module) not in inside and next(module.parameters(), None) is None:
                yield module


def count_parameters(module: nn.Module) -> dict[str, int]:
    """Return how many parameters of a module are trained, and how many it has."""
    parameters = list(module.parameters())
    return {"trained": sum(p.numel() for p in parameters if p.requires_grad), "all": sum(p.numel() for p in parameters)}
