"""Checks of the layers that an encoder tells (`Encoder.layer_stack`). Letters: B records, T tokens, L layers."""

from __future__ import annotations

from unittest import SkipTest

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from sensorium.contracts import Encoder, LayerStack
from sensorium.errors import PluginError
from sensorium.models.layers import LayerTokens, encode_with_layers, pool_layers
from sensorium.testing.checked_part import CheckedPart, expect
from sensorium.testing.equality import close
from sensorium.types import Batch, Features


def tells_disjoint_modules_as_layers(checked: CheckedPart) -> None:
    """The blocks of `layer_stack`, and what lies behind them, are its own modules, none of which is part of another."""
    encoder, stack = _encoder_and_stack(checked)
    expect(len(stack.blocks) > 0, "its layer_stack has no blocks: return None where there are none")
    own, depths = set(map(id, encoder.modules())), dict[int, str]()
    bare = {id(part) for part in stack.behind if isinstance(part, nn.Parameter)}
    expect(bare <= set(map(id, encoder.parameters())), "a parameter behind its layer_stack is none of the encoder")
    behind = [part for part in stack.behind if isinstance(part, nn.Module)]
    told = [*((f"block {n}", block) for n, block in enumerate(stack.blocks, 1)), *(("behind", m) for m in behind)]
    for depth, module in told:
        expect(id(module) in own, f"{depth} of its layer_stack, a {type(module).__name__}, is no module of the encoder")
        for part in module.modules():
            other = depths.setdefault(id(part), depth)
            expect(other == depth, f"{depth} and {other} of its layer_stack share a module: each has one depth")
    found = set(map(id, stack.modules_behind()))
    expect(stack.norm is None or id(stack.norm) in found, "the norm of its layer_stack is not among what lies behind")


@torch.no_grad()
def runs_its_layers_once_in_their_order(checked: CheckedPart) -> None:
    """A pass runs the blocks once each, in their order, and then what lies behind them."""
    encoder, stack = _encoder_and_stack(checked)
    names = {id(block): number for number, block in enumerate(stack.blocks, 1)}
    names |= {id(module): len(stack.blocks) + 1 for module in stack.behind}
    ran: list[int] = []

    def note(module: nn.Module, _: object, made: object) -> None:
        if id(module) in names:
            ran.append(names[id(module)])

    handle = register_module_forward_hook(note)
    try:
        encoder(checked.batch)
    finally:
        handle.remove()
    blocks = [number for number in ran if number <= len(stack.blocks)]
    expect(
        blocks == list(range(1, len(stack.blocks) + 1)),
        f"a pass runs the blocks {blocks} of its {len(stack.blocks)}: name each once, in the order in which tokens "
        "pass them",
    )
    expect(ran == sorted(ran), "a module of its layer_stack that is said to lie behind the blocks runs before the last")


@torch.no_grad()
def returns_tokens_from_its_layers(checked: CheckedPart) -> None:
    """What the last block returns, as it is or behind the final norm, are the tokens of the features."""
    encoder, stack = _encoder_and_stack(checked)
    features, layers = _layers(encoder, stack, checked.batch)
    last, tokens = layers[-1], features.tokens
    if stack.tokens_of is not None or tokens is None or tokens.shape[2] != last.x.shape[2]:
        return
    shape = tuple(last.x.shape)
    expect(
        shape == tuple(tokens.shape),
        f"its last block returns tokens {shape} behind a prefix of {stack.prefix}, the features have "
        f"{tuple(tokens.shape)}: correct the prefix of its layer_stack",
    )
    whole = torch.cat([last.prefix, last.x], dim=1)
    read = [last.x] + ([stack.norm(whole)[:, stack.prefix :]] if stack.norm is not None else [])
    valid_BT = features.valid()
    expect(
        any(close(x_BTD[valid_BT], tokens[valid_BT]) for x_BTD in read),
        "neither what its last block returns nor that behind the final norm are the tokens of its features: correct "
        "blocks, norm and prefix of its layer_stack",
    )


@torch.no_grad()
def ignores_padding_in_its_layers(checked: CheckedPart) -> None:
    """The mean of a record's tokens in every layer is the same alone, without padding, as in a batch that pads it."""
    encoder, stack = _encoder_and_stack(checked)
    together_BLD = pool_layers(stack, _layers(encoder, stack, checked.batch)[1]).nan_to_num()
    for row, example in enumerate(checked.examples()):
        alone_BLD = pool_layers(stack, _layers(encoder, stack, checked.modality.collate([example]))[1]).nan_to_num()
        apart = [n for n, (a, b) in enumerate(zip(together_BLD[row], alone_BLD[0], strict=True)) if not close(a, b)]
        expect(
            not apart,
            f"record {row} has other layers alone than in a batch that pads it: let `tokens_of` of its layer_stack "
            "return which tokens of a block are valid",
        )


def _encoder_and_stack(checked: CheckedPart) -> tuple[Encoder, LayerStack]:
    stack = checked.encoder.layer_stack()
    if stack is None:
        raise SkipTest("it tells no layers")
    return checked.encoder, stack


def _layers(encoder: Encoder, stack: LayerStack, batch: Batch) -> tuple[Features, list[LayerTokens]]:
    try:
        return encode_with_layers(encoder, stack, batch)
    except PluginError as error:
        expect(False, str(error))
        raise


CHECKS = (
    tells_disjoint_modules_as_layers,
    runs_its_layers_once_in_their_order,
    returns_tokens_from_its_layers,
    ignores_padding_in_its_layers,
)
