"""Plain modules and functions as parts: an `nn.Module` that knows no batches as an encoder, a function as views."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.contracts import Encoder, LayerStack, Modality, TokenEncoder, Tokens, ViewGenerator
from sensorium.errors import RecipeError
from sensorium.registration.given import origin_of
from sensorium.seeding import drawing_from
from sensorium.types import Batch, Features, View, at_least_one_row

POOLED, TOKENS, MASK = ("pooled", "pooler_output"), ("tokens", "last_hidden_state"), ("mask",)
"""Names of features in the mapping that a module may return; the second ones are those of Hugging Face."""


class ModuleEncoder(Encoder):
    """An encoder around a plain module.

    The module is called with `Batch.as_tensor()` (float pixels in [0, 1] of images (B, C, H, W), values of signals
    (B, C, T), ids of texts (B, T)), or with the batch itself if its `forward` says so by the annotation of its first
    argument. It returns features (B, D); tokens (B, T, D), whose mean over valid ones is pooled; a feature map
    (B, D, H, W), whose positions are tokens; `Features`; or a mapping of "pooled", "tokens" and "mask". Its layers are
    what its method `layer_stack` returns, as that of `Encoder`, where it has one.

    Args:
        modality: what the module encodes.
        module: the module.
        dim: width D of its features; 0 while it is not measured.
        token_dim: width of its tokens; 0 for none.
    """

    def __init__(self, modality: Modality, module: nn.Module, dim: int = 0, token_dim: int = 0) -> None:
        super().__init__()
        self.module, self.dim = module, dim
        self._token_dim = token_dim

    @property
    def token_dim(self) -> int:
        """Width of the module's tokens."""
        return self._token_dim or self.dim

    def forward(self, batch: Batch) -> Features:
        """Encode a batch by the module."""
        given = input_of(self.module.forward, batch)
        if len(batch) or not isinstance(given, Tensor):
            return self._features(given, batch)
        features = self._features(at_least_one_row(given), batch)  # a rank without records: modules may refuse no rows
        return features.split([0, len(features.pooled)])[0]

    def layer_stack(self) -> LayerStack | None:
        """Return the layers that the module tells, None where it tells none."""
        told = getattr(self.module, "layer_stack", None)
        return told() if callable(told) else None

    def _features(self, given: Any, batch: Batch) -> Features:
        try:
            made = self.module(given)
        except Exception as error:
            error.add_note(f"The encoder {origin_of(self.module)} was called with {shown(given)}.")
            raise
        return features_of(made, batch, origin_of(self.module))


class TokenModuleEncoder(ModuleEncoder, TokenEncoder):
    """A token encoder around a plain module with the methods `tokenize` and `encode_tokens`, and `token_targets`.

    They are those of `TokenEncoder`; `tokenize` and `token_targets` are called as `forward` is, and `tokenize` may
    return a tensor (B, T, D) whose positions are embedded already.

    Args:
        modality: what the module encodes.
        module: the module.
        dim: width D of its features; 0 while it is not measured.
        token_dim: width of its tokens; 0 while it is not measured.
        target_dim: width P of one token's target; 0 for none.
    """

    def __init__(
        self, modality: Modality, module: nn.Module, dim: int = 0, token_dim: int = 0, target_dim: int = 0
    ) -> None:
        super().__init__(modality, module, dim, token_dim)
        self.target_dim = target_dim or getattr(module, "target_dim", 0)
        self.is_causal, self.grid = getattr(module, "is_causal", False), getattr(module, "grid", None)

    def tokenize(self, batch: Batch) -> Tokens:
        """Split a batch into tokens by the module."""
        made = self._method("tokenize")(input_of(self._method("tokenize"), batch))
        if isinstance(made, Tensor):
            return Tokens(made, torch.zeros_like(made[:1]), _mask_of(batch, made))
        return made

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode tokens by the module."""
        method = self._method("encode_tokens")
        kept = tokens if keep is None else tokens.take(keep)
        return features_of(method(tokens, keep), kept, origin_of(self.module))

    def token_targets(self, batch: Batch) -> Tensor:
        """Return the module's targets of tokens."""
        return self._method("token_targets")(input_of(self._method("token_targets"), batch))

    def forward(self, batch: Batch) -> Features:
        """Encode every token of a batch."""
        return self.encode_tokens(self.tokenize(batch))

    def _method(self, name: str) -> Callable[..., Any]:
        method = getattr(self.module, name, None)
        if method is None:
            raise RecipeError(
                f"The encoder {origin_of(self.module)} has no method '{name}', which the objective calls: define it as "
                "sensorium.TokenEncoder has it."
            )
        return method


class FunctionViews(ViewGenerator):
    """View generator around a plain function.

    The function is called with `Batch.as_tensor()`, or with the batch itself if the annotation of its first argument
    says so. It returns one view, and is then called once for each, or a list of all: tensors, batches or `View`s. What
    it draws from the global generators of torch, NumPy and Python is a function of (seed, step, rank). It draws for
    each record: one that draws once for the whole tensor, as transforms of torchvision do, gives all the same draw.

    Args:
        modality: what it augments.
        function: the function.
        views: number of views of each record.
    """

    def __init__(self, modality: Modality, function: Callable[[Any], Any], views: int = 1) -> None:
        self.function, self.views = function, views

    def __call__(self, batch: Batch, rng: torch.Generator) -> list[View]:
        """Return the views that the function makes."""
        with drawing_from(rng):
            first = self._call(batch)
            made = list(first) if isinstance(first, list | tuple) else [first]
            if not isinstance(first, list | tuple):
                made += [self._call(batch) for _ in range(self.views - 1)]
        if len(made) != self.views:
            raise RecipeError(
                f"The function {origin_of(self.function)} returned {len(made)} views, but the objective takes "
                f"{self.views} of each record: return one view, for which it is called {self.views} times, or a list "
                f"of {self.views}."
            )
        return [self._view(batch, one) for one in made]

    def _call(self, batch: Batch) -> Any:
        given = input_of(self.function, batch)
        is_stored = any(given is tensor for tensor in batch.tensors().values())
        return self.function(given.clone() if is_stored else given)

    def _view(self, batch: Batch, made: Any) -> View:
        if isinstance(made, View):
            return made
        if isinstance(made, Batch):
            return View(made)
        if isinstance(made, Tensor) and len(made) == len(batch):
            return View(batch.with_tensor(made))
        raise RecipeError(
            f"The function {origin_of(self.function)} returned {shown(made)} as a view of {len(batch)} records: a view "
            "is a tensor with the records along its first axis, a batch or a sensorium.View."
        )


def input_of(function: Callable[..., Any], batch: Batch) -> Any:
    """Return what a plain function takes of a batch: itself, if the first argument is annotated so, or its tensor."""
    return batch if takes_batch(function) else batch.as_tensor()


def takes_batch(function: Callable[..., Any]) -> bool:
    """Whether the first argument of a function is annotated as a `Batch`, or a class of such."""
    if not inspect.isroutine(function):
        function = type(function).forward if isinstance(function, nn.Module) else type(function).__call__
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    annotation = getattr(function, "__annotations__", {}).get(names[0]) if names else None
    if isinstance(annotation, str):
        annotation = getattr(inspect.unwrap(function), "__globals__", {}).get(annotation.rpartition(".")[2], annotation)
    return issubclass(annotation, Batch) if isinstance(annotation, type) else str(annotation).endswith("Batch")


def features_of(made: Any, given: Batch | Tokens, origin: str) -> Features:
    """Return what a plain module returned as features; see `ModuleEncoder`.

    Args:
        made: what it returned.
        given: the batch, or the tokens, that it encoded.
        origin: the module's class, for errors.

    Raises:
        RecipeError: when it is nothing of the kind.
    """
    if isinstance(made, Features):
        return made
    if isinstance(made, Mapping):
        pooled, tokens, mask = (next((made[n] for n in names if n in made), None) for names in (POOLED, TOKENS, MASK))
        if isinstance(tokens, Tensor):
            features = _of_tokens(tokens, _mask_of(given, tokens) if mask is None else mask)
            return features if pooled is None else replace(features, pooled=pooled)
        made = pooled
    if isinstance(made, Tensor) and made.is_floating_point():
        if made.ndim == 2:
            return Features(made)
        if made.ndim == 3:
            return _of_tokens(made, _mask_of(given, made))
        if made.ndim == 4:
            return _of_tokens(made.flatten(2).transpose(1, 2), None)
    raise RecipeError(
        f"The encoder {origin} returned {shown(made)}: an encoder returns features (B, D), tokens (B, T, D), a feature "
        "map (B, D, H, W), sensorium.Features, or a mapping of 'pooled', 'tokens' and 'mask'."
    )


def _of_tokens(x_BTD: Tensor, mask_BT: Tensor | None) -> Features:
    wide = torch.promote_types(x_BTD.dtype, torch.float32)
    if mask_BT is None:
        return Features(x_BTD.mean(1, dtype=wide), x_BTD)
    weights_BT1 = mask_BT[..., None].to(wide)
    pooled_BD = (x_BTD.to(wide) * weights_BT1).sum(1) / weights_BT1.sum(1).clamp(min=1)
    return Features(pooled_BD, x_BTD, mask_BT)


def _mask_of(given: Any, x_BTD: Tensor) -> Tensor | None:
    """Return the padding mask of a batch, where it has one for these tokens."""
    mask = getattr(given, "mask", None)
    return mask if isinstance(mask, Tensor) and mask.shape == x_BTD.shape[:2] else None


def shown(value: Any) -> str:
    """Return a value as an error names it: a tensor by type and shape."""
    if isinstance(value, Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"an object of type {type(value).__name__}"
