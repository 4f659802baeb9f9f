"""What the layers of an encoder return, all read in one pass: forward hooks on the blocks of its `layer_stack`.

Letters: B records of a batch, T tokens, D width of a layer, L layers as they are probed: every block raw and, where
there is a final norm, behind it; by the mean of its tokens and, where there is one, by its class token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from sensorium.contracts import Encoder, LayerStack
from sensorium.errors import PluginError, RecipeError
from sensorium.feature_table import Layer
from sensorium.types import Batch, Features


class LayerTokens(NamedTuple):
    """What one block returned of a batch.

    Args:
        x: float (B, T, D), its tokens.
        mask: bool (B, T), True where a token is valid; None when all are.
        prefix: float (B, P, D), the class and register tokens in front of them, P >= 0.
    """

    x: Tensor
    mask: Tensor | None
    prefix: Tensor


def layers_of(stack: LayerStack) -> tuple[Layer, ...]:
    """Return the L layers that `pool_layers` gives of a stack, in their order."""
    return tuple(
        Layer(number, is_normed, pooling)
        for number in range(1, len(stack.blocks) + 1)
        for pooling in ("mean", "class token")[: 1 + bool(stack.prefix)]
        for is_normed in (False, True)[: 1 + (stack.norm is not None)]
    )


def encode_with_layers(
    encoder: Encoder, stack: LayerStack, batch: Batch, numbers: Sequence[int] | None = None
) -> tuple[Features, list[LayerTokens]]:
    """Encode a batch, and return the features and what blocks of the stack returned, without gradient.

    Args:
        encoder: in evaluation mode.
        stack: its `layer_stack()`.
        batch: B examples.
        numbers: of the blocks, counted from 1; None is all.

    Raises:
        PluginError: when a block did not run exactly once, or returned no tokens of these records.
    """
    chosen = {number: stack.blocks[number - 1] for number in numbers or range(1, len(stack.blocks) + 1)}
    with _recording(list(chosen.values())) as returned:
        features = encoder(batch)
    for number, block in chosen.items():
        if (runs := len(returned[id(block)])) != 1:
            raise PluginError(
                f"Block {number} of the layer_stack of {type(encoder).__name__} ran {runs} times in a pass, not once: "
                "name the modules that tokens pass, each once, in their order."
            )
    return features, [_tokens(encoder, stack, returned[id(block)][0], features) for block in chosen.values()]


def layer_features(encoder: Encoder, batch: Batch, numbers: Sequence[int]) -> list[Features]:
    """Return the features of a batch, with the tokens behind some blocks in place of its own, without gradient.

    Args:
        encoder: in evaluation mode.
        batch: B examples.
        numbers: of blocks of its `layer_stack`, counted from 1.

    Raises:
        RecipeError: when it has no such block.
    """
    stack = encoder.layer_stack() if isinstance(encoder, Encoder) else None
    depth = 0 if stack is None else len(stack.blocks)
    if stack is None or not all(1 <= number <= depth for number in numbers):
        has = f"blocks 1 to {depth}" if depth else "no layer_stack, which would name its blocks"
        raise RecipeError(
            f"The objective asks for the tokens behind block {', '.join(map(str, numbers))} of the encoder "
            f"{type(encoder).__name__}, which has {has}: choose another layer, or another encoder."
        )
    with torch.no_grad():
        features, layers = encode_with_layers(encoder, stack, batch, numbers)
    return [Features(features.pooled, layer.x, layer.mask) for layer in layers]


@contextmanager
def _recording(blocks: Sequence[nn.Module]) -> Iterator[dict[int, list[Any]]]:
    """Record what blocks return while they are run, by their identity.

    The hook is a global one: one on a block would keep `nn.TransformerEncoderLayer` from its fast path, so that the
    features themselves would be rounded otherwise where layers are read beside them.
    """
    returned: dict[int, list[Any]] = {id(block): [] for block in blocks}

    def record(module: nn.Module, _: Any, made: Any) -> None:
        if id(module) in returned:
            returned[id(module)].append(_kept(made))

    handle = register_module_forward_hook(record)
    try:
        yield returned
    finally:
        handle.remove()


def _kept(made: Any) -> Any:
    """Return what a block returned with its tensors copied: the next one may write into them."""
    if isinstance(made, Tensor):
        return made.detach().clone()
    return type(made)(map(_kept, made)) if type(made) in (tuple, list) else made


def _tokens(encoder: Encoder, stack: LayerStack, made: Any, features: Features) -> LayerTokens:
    """Return what a block returned as tokens of the records that were encoded."""
    count = len(features.pooled)
    if stack.tokens_of is not None:
        x_BTD, mask_BT = stack.tokens_of(made, features)
    else:
        x_BTD, mask_BT = _first_tensor(made), features.mask
    if x_BTD is None or x_BTD.ndim != 3 or len(x_BTD) < count:
        found = "nothing" if x_BTD is None else f"a tensor {tuple(x_BTD.shape)}"
        raise PluginError(
            f"A block of the layer_stack of {type(encoder).__name__} returns {found} for {count} records: the first "
            "tensor that it returns is tokens (B, prefix + T, D), or `tokens_of` of the stack makes them."
        )
    x_BTD, prefix_BPD = x_BTD[:count, stack.prefix :], x_BTD[:count, : stack.prefix]
    mask_BT = None if mask_BT is None else mask_BT[:count]
    if mask_BT is not None and mask_BT.shape != x_BTD.shape[:2]:
        raise PluginError(
            f"A block of the layer_stack of {type(encoder).__name__} returns {x_BTD.shape[1]} tokens behind a prefix "
            f"of {stack.prefix}, but the mask of the features is {tuple(mask_BT.shape)}: correct the prefix, or let "
            "`tokens_of` of the stack return the mask as well."
        )
    return LayerTokens(x_BTD, mask_BT, prefix_BPD)


def _first_tensor(made: Any) -> Tensor | None:
    """Return the first tensor of what a block returned: of a tuple or a mapping, such as of transformers."""
    if isinstance(made, Tensor):
        return made
    values = made.values() if hasattr(made, "values") else made if isinstance(made, tuple | list) else ()
    return next((value for value in values if isinstance(value, Tensor)), None)


def pool_layers(stack: LayerStack, layers: Sequence[LayerTokens]) -> Tensor:
    """Return one vector of each record and layer, in the order of `layers_of`: float32 (B, L, D).

    D is the largest width; a narrower layer has nan behind its own.
    """
    rows: list[Tensor] = []
    for tokens in layers:
        whole = torch.cat([tokens.prefix, tokens.x], dim=1)
        readings = [whole, *([stack.norm(whole)] if stack.norm is not None else [])]
        split = [(x[:, : stack.prefix].float(), x[:, stack.prefix :].float()) for x in readings]
        rows += [_mean(x_BTD, tokens.mask) for _, x_BTD in split]
        rows += [prefix_BPD[:, 0] for prefix_BPD, _ in split if stack.prefix]
    width = max(row.shape[1] for row in rows)
    return torch.stack([nn.functional.pad(row, (0, width - row.shape[1]), value=torch.nan) for row in rows], dim=1)


def _mean(x_BTD: Tensor, mask_BT: Tensor | None) -> Tensor:
    """Return the mean of the valid tokens of each record; zero of one without any."""
    if mask_BT is None:
        return x_BTD.mean(1)
    return x_BTD.masked_fill(~mask_BT[..., None], 0.0).sum(1) / mask_BT.sum(1, keepdim=True).clamp(min=1)
