"""How a text model of transformers is told positions and padding, observed by running it.

Hundreds of architectures answer the same call in different ways. Some add learned positions that start at 2, some
rotate by positions, some have a bias by distance that they take from the order of their input. A short pass of random
weights shows which way is exact, so that no list of architectures has to be kept.

Letters: B texts, T tokens, K kept tokens, E width of the embedding, D width of the tokens.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sensorium import take_tokens
from sensorium.errors import RecipeError

Mask = Literal["bool", "float", "padding"]
Window = Literal["none", "some layers", "all layers"]
FULL, SLIDING = "full_attention", "sliding_attention"
FAR = 1e-4
"""How far two passes may lie apart, relative to the tokens' own size, that are said to be equal in fp32."""


@dataclass(frozen=True)
class Behavior:
    """What was observed of a model.

    Args:
        is_causal: a token attends to itself and those before it only.
        offset: the position id of a text's first token; None for a model that takes none.
        mask: attention masks that it honours: "bool" or added "float" (B, 1, T, T), or "padding", (B, T).
        window: layers whose attention reaches only as far as the configuration's sliding window.
        subset: how kept tokens are encoded: "alone", among the others that are "masked" from attention, or "never".
    """

    is_causal: bool = False
    offset: int | None = None
    mask: Mask = "padding"
    window: Window = "none"
    subset: Literal["alone", "masked", "never"] = "alone"

    def encode(self, model: nn.Module, x_BTE: Tensor, mask_BT: Tensor, place_BT: Tensor) -> Tensor:
        """Return the last tokens (B, T, D).

        Args:
            model: of transformers.
            x_BTE: embedded ids, float, those of tokens that are masked from attention with any content.
            mask_BT: bool, tokens that others attend to.
            place_BT: int64, where in its text each token stands, counted from 0.
        """
        mask_BT = mask_BT | ~mask_BT.any(1, keepdim=True)  # attention over nothing is not finite
        # What a convolution mixes is no content of padding then.
        inputs: dict[str, Any] = {"inputs_embeds": x_BTE.masked_fill(~mask_BT[..., None], 0)}
        if self.offset is not None:
            inputs["position_ids"] = place_BT + self.offset
        inputs["attention_mask"] = self._attention_mask(model, mask_BT, place_BT, x_BTE.dtype)
        tokens_BTD: Tensor = model(**inputs).last_hidden_state
        return tokens_BTD

    def _attention_mask(self, model: nn.Module, mask_BT: Tensor, place_BT: Tensor, dtype: torch.dtype) -> Any:
        if self.mask == "padding":
            return mask_BT.long()
        may_attend = mask_BT[:, None, None, :]
        ahead_B1TT = place_BT[:, None, None, :] - place_BT[:, None, :, None]
        if self.is_causal:
            itself_TT = torch.eye(mask_BT.shape[1], dtype=torch.bool, device=mask_BT.device)  # so that no row is empty
            may_attend = (may_attend & (ahead_B1TT <= 0)) | itself_TT
        if self.window == "none":
            return self._of_kind(may_attend, dtype)
        window: int = model.config.sliding_window  # type: ignore[union-attr, assignment]
        is_near_B1TT = ahead_B1TT > -window if self.is_causal else ahead_B1TT.abs() <= window
        near = self._of_kind(may_attend & is_near_B1TT, dtype)
        return near if self.window == "all layers" else {FULL: self._of_kind(may_attend, dtype), SLIDING: near}

    def _of_kind(self, may_attend: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a mask, bool, in the kind that the model takes."""
        if self.mask == "bool":
            return may_attend
        nothing = torch.zeros(may_attend.shape, dtype=dtype, device=may_attend.device)
        return nothing.masked_fill(~may_attend, torch.finfo(dtype).min)


def observe(model: Any, name: str) -> Behavior:
    """Return how a model is told positions and padding, after a few passes of a short text through random weights.

    Its own weights, the global generators and its mode stay as they are.

    Args:
        model: of transformers.
        name: of the model, for errors.

    Raises:
        RecipeError: when its features depend on padding, or its ids cannot be embedded apart.
    """
    was_training = model.training
    if not _embeds_ids(model):
        raise _refusal(model, name, "it has no one embedding of ids")
    try:
        with torch.no_grad(), _random_weights(model.eval()), _short_window(model.config):
            return _observed(model, name)
    finally:
        model.train(was_training)


def _observed(model: Any, name: str) -> Behavior:
    ids_BT, mask_BT, place_BT = _texts(model.config)
    short = int(mask_BT[1].sum())
    try:
        embedded_BTE = model.get_input_embeddings()(ids_BT)
        whole, alone = (model(input_ids=ids).last_hidden_state[0] for ids in (ids_BT[:1], ids_BT[1:, :short]))
        other_ids_BT = torch.cat([ids_BT[:1, :-1], ids_BT[1:, -1:]], dim=1)
        is_causal = _is_close(model(input_ids=other_ids_BT).last_hidden_state[0, :-1], whole[:-1])
    except Exception as error:  # whatever an architecture raises that wants more than the ids of a short text
        raise _refusal(model, name, f"it does not read plain ids ({_said(error)})") from error
    fault = "its ids cannot be embedded apart from the model"
    for offset, (mask, window) in product(_offsets(model), _masks(model.config)):
        behavior = Behavior(is_causal, offset, mask, window)
        try:
            tokens_BTD = behavior.encode(model, embedded_BTE, mask_BT, place_BT)
        except Exception as error:  # of masks or positions of a kind that it does not take
            fault = f"{fault.partition(' (')[0]} ({_said(error)})"
            continue
        if _is_close(tokens_BTD[0], whole):
            if _is_close(tokens_BTD[1, :short], alone):
                return _with_subset(behavior, model, embedded_BTE, mask_BT, place_BT)
            fault = "the features of a text change with the padding of its batch"
    raise _refusal(model, name, fault)


def _embeds_ids(model: Any) -> bool:
    try:
        return isinstance(model.get_input_embeddings(), nn.Embedding)
    except NotImplementedError:
        return False


def _refusal(model: Any, name: str, fault: str) -> RecipeError:
    return RecipeError(
        f"The encoder 'transformers' cannot use {type(model).__name__} of '{name}': {fault}. Choose a model of another "
        "architecture, such as BERT, RoBERTa, ModernBERT or MPNet."
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or 'no reason').splitlines()[0].rstrip('.')}"


def _with_subset(behavior: Behavior, model: Any, x_BTE: Tensor, mask_BT: Tensor, place_BT: Tensor) -> Behavior:
    """Return the behavior with how the model encodes a subset of tokens exactly, at their own places."""
    keep_BK = torch.tensor([[6, 0, 3, 7, 2], [4, 1, 3, 0, 2]])
    kept_BT = torch.zeros_like(mask_BT).scatter(1, keep_BK, True) & mask_BT
    expected_BKD = take_tokens(behavior.encode(model, x_BTE, kept_BT, place_BT), keep_BK)

    def is_exact(order_BK: Tensor) -> bool:
        parts = (take_tokens(part, keep_BK.gather(1, order_BK)) for part in (x_BTE, mask_BT, place_BT))
        made_BKD = behavior.encode(model, *parts)
        return _is_close(made_BKD, take_tokens(expected_BKD, order_BK))

    as_given, sorted_ = torch.arange(keep_BK.shape[1]).expand_as(keep_BK), keep_BK.argsort(1)
    if is_exact(as_given):
        return replace(behavior, subset="alone")
    # The rest of the text closed up: then positions are counted over what is attended to, and are not the tokens' own.
    return replace(behavior, subset="never" if behavior.offset is None and is_exact(sorted_) else "masked")


def _texts(config: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids of two texts, (2, T), of 8 and 5 tokens, which of them are valid, and their places."""
    special = {getattr(config, f"{role}_token_id", None) for role in ("pad", "bos", "eos", "cls", "sep")}
    usable = [i for i in range(min(config.vocab_size, 64)) if i not in special]
    drawn = torch.randint(len(usable), (2, 8), generator=torch.Generator().manual_seed(0))
    ids_BT = torch.tensor(usable)[drawn]
    place_BT = torch.arange(8).expand(2, 8)
    return ids_BT, place_BT < torch.tensor([[8], [5]]), place_BT


def _offsets(model: Any) -> list[int | None]:
    """Return position ids at which the first token may stand, the likeliest first."""
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return [None]
    pad = getattr(model.config, "pad_token_id", None)
    return list(dict.fromkeys([0, 0 if pad is None else pad + 1, 2, None]))


def _masks(config: Any) -> list[tuple[Mask, Window]]:
    """Return kinds of masks that a model may take, those first that cost the host no look at them."""
    kinds = set(getattr(config, "layer_types", None) or [])
    windows: list[Window] = ["none"]
    if SLIDING in kinds <= {FULL, SLIDING}:
        windows = ["some layers", "all layers"]
    elif getattr(config, "sliding_window", None) is not None:
        windows = ["none", "all layers"]
    masks: list[Mask] = ["bool", "float"]
    return [*product(masks, windows), ("padding", "none")]


@contextmanager
def _random_weights(model: Any) -> Iterator[None]:
    """Give all weights but the ids' embedding values of about one over the root of their width, and then their own.

    First weights are small, and some are zero: what depends on them could not be seen.
    """
    rng = torch.Generator().manual_seed(0)
    own = {p: p.data for p in model.parameters()}
    table = model.get_input_embeddings().weight
    try:
        for parameter, values in own.items():
            if parameter is not table:
                noise = torch.randn(values.shape, generator=rng)
                parameter.data = noise / values.shape[-1] ** 0.5 if values.ndim > 1 else values + 0.2 * noise
        yield
    finally:
        for parameter, values in own.items():
            parameter.data = values


@contextmanager
def _short_window(config: Any) -> Iterator[None]:
    """Set the window of local attention to 2 tokens, so that a short text has more."""
    window = getattr(config, "sliding_window", None)
    if window is not None:
        config.sliding_window = 2
    try:
        yield
    finally:
        if window is not None:
            config.sliding_window = window


def _is_close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= FAR * other.square().mean().sqrt())
