"""Checks of token encoders. Letters: B records, T tokens, D features, K kept tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from unittest import SkipTest

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sensorium.contracts import TokenEncoder, Tokens
from sensorium.testing.checked_part import CheckedPart, expect, rng
from sensorium.testing.equality import close
from sensorium.types import Batch


@torch.no_grad()
def returns_tokens_of_the_declared_shapes(checked: CheckedPart) -> None:
    """A token encoder returns tokens, positions, mask and token targets in the shapes of the contract."""
    encoder, tokens = _encoder_and_tokens(checked)
    b, t, d = tokens.x.shape
    width = encoder.token_dim
    expect((b, d) == (len(checked.batch), width), f"tokenize gives x {(b, t, d)} for token_dim = {width}")
    expect(
        tokens.positions.shape in ((b, t, d), (1, t, d)),
        f"positions are {tuple(tokens.positions.shape)} for {(b, t, d)}",
    )
    if tokens.mask is not None:
        expect(
            tokens.mask.dtype == torch.bool and tokens.mask.shape == (b, t),
            f"mask is {tokens.mask.dtype} {tuple(tokens.mask.shape)}, not bool {(b, t)}",
        )
        expect(bool(tokens.mask.any(1).all()), "a record has no valid token")
    targets = encoder.token_targets(checked.batch)
    shape = (b, t, encoder.target_dim) if targets.is_floating_point() else (b, t)
    expect(tuple(targets.shape) == shape, f"token_targets are {tuple(targets.shape)}, not {shape}")


@torch.no_grad()
def encodes_a_subset_of_tokens(checked: CheckedPart) -> None:
    """`encode_tokens` returns the tokens of `keep`, of which each record has its own, in its order; or all tokens."""
    encoder, tokens = _encoder_and_tokens(checked)
    b, t, d = tokens.x.shape
    whole = encoder.encode_tokens(tokens)
    expect(whole.tokens is not None, "encode_tokens returns no tokens")
    expect(tuple(whole.tokens.shape) == (b, t, d), f"all tokens encode to {tuple(whole.tokens.shape)}, not {(b, t, d)}")
    expect(close(whole.pooled, checked.features.pooled), "encoding all tokens differs from forward")
    keep_BK = _keep(tokens)
    k = keep_BK.shape[1]
    kept, turned = encoder.encode_tokens(tokens, keep_BK), encoder.encode_tokens(tokens, keep_BK.flip(1))
    shape = tuple(kept.tokens.shape)
    expect(shape == (b, k, d), f"{k} kept tokens encode to {shape}, not {(b, k, d)}")
    valid_BK = kept.valid()
    expect(tuple(valid_BK.shape) == (b, k), f"the mask of {k} kept tokens is {tuple(valid_BK.shape)}")
    expect(
        close(kept.tokens[valid_BK], turned.tokens.flip(1)[valid_BK]),
        "kept tokens depend on the order of keep: they do not keep their position embeddings",
    )


@torch.no_grad()
def encodes_kept_tokens_alone(checked: CheckedPart) -> None:
    """Tokens that `keep` leaves out change nothing, and are not computed: else a masked objective sees its answers."""
    encoder, tokens = _encoder_and_tokens(checked)
    keep_BK = _keep(tokens)
    is_left_out_BT = torch.ones(tokens.x.shape[:2], dtype=torch.bool).scatter(1, keep_BK, False)
    kept, changed = (
        encoder.encode_tokens(tokens, keep_BK),
        encoder.encode_tokens(_garbled(tokens, is_left_out_BT), keep_BK),
    )
    valid_BK = kept.valid()
    expect(
        close(kept.tokens[valid_BK], changed.tokens[valid_BK]) and close(kept.pooled, changed.pooled),
        "features of kept tokens change with tokens that are left out: take the tokens of keep before any layer mixes "
        "them, as tokens.take(keep) does",
    )
    few, all_ = _flops(encoder, tokens, keep_BK[:, :1]), _flops(encoder, tokens, None)
    expect(
        tokens.x.shape[1] < 4 or few < 0.75 * all_ or not all_,
        f"encoding 1 of {tokens.x.shape[1]} tokens costs {few:,} operations, and all of them {all_:,}: take the tokens "
        "of keep before any layer, as tokens.take(keep) does",
    )


@torch.no_grad()
def encodes_copies_of_records_alike(checked: CheckedPart) -> None:
    """Copies of records (`Tokens.repeat`) have the features of the records, all tokens or each its own kept ones."""
    encoder, tokens = _encoder_and_tokens(checked)
    b, keep_BK = len(tokens.x), _keep(tokens)
    for made, copies in (
        (encoder.encode_tokens(tokens), encoder.encode_tokens(tokens.repeat(2))),
        (encoder.encode_tokens(tokens, keep_BK), encoder.encode_tokens(tokens.repeat(2), keep_BK.repeat(2, 1))),
    ):
        for copy in (slice(b), slice(b, None)):
            valid_BT = made.valid()
            expect(
                len(copies.pooled) == 2 * b
                and close(copies.pooled[copy], made.pooled)
                and close(copies.tokens[copy][valid_BT], made.tokens[valid_BT]),
                "two copies of each record, tokens.repeat(2), have other features than the records: `repeat` of its "
                "Tokens must repeat whatever belongs to records, copy after copy",
            )


@torch.no_grad()
def ignores_padded_tokens(checked: CheckedPart) -> None:
    """What stands at padded tokens changes neither the valid tokens nor the pooled features."""
    encoder, tokens = _encoder_and_tokens(checked)
    if tokens.mask is None or bool(tokens.mask.all()):
        raise SkipTest("no token of its samples is padding")
    whole, changed = encoder.encode_tokens(tokens), encoder.encode_tokens(_garbled(tokens, ~tokens.mask))
    valid_BT = tokens.mask
    expect(
        close(whole.tokens[valid_BT], changed.tokens[valid_BT]),
        "valid tokens change with what stands at padded ones: mask attention, or whatever mixes tokens, by tokens.mask",
    )
    expect(
        close(whole.pooled, changed.pooled),
        "pooled features change with what stands at padded tokens: pool over valid tokens alone, by tokens.mask",
    )


@torch.no_grad()
def honors_a_mask_of_kept_tokens(checked: CheckedPart) -> None:
    """Kept tokens that `tokens.mask` hides change nothing, also where no sample has padding; one record has none left.

    So objectives show every record another number of tokens. An encoder without use for a mask returns none.
    """
    encoder, tokens = _encoder_and_tokens(checked)
    draw_BT = torch.rand(tokens.x.shape[:2], generator=rng("hidden tokens"))
    shown_BT = tokens.valid() & (draw_BT < 0.6)
    shown_BT[0] = False
    keep_BK = draw_BT.argsort(1)
    masked = replace(tokens, mask=shown_BT)
    features, changed = (encoder.encode_tokens(t, keep_BK) for t in (masked, _garbled(masked, ~shown_BT)))
    if features.mask is None:
        raise SkipTest("it ignores the mask of tokens that need none: objectives that hide tokens by it refuse it")
    shown_BK = shown_BT.gather(1, keep_BK)
    expect(bool((features.mask == shown_BK).all()), "the mask of the features is not that of the kept tokens")
    expect(
        bool(features.pooled.isfinite().all() and features.tokens.isfinite().all()),
        "features are not finite where a record has no valid token among those that are kept",
    )
    expect(
        close(features.tokens[shown_BK], changed.tokens[shown_BK])
        and close(features.pooled[shown_BT.any(1)], changed.pooled[shown_BT.any(1)]),
        "kept tokens, or pooled features, change with what stands at kept tokens that tokens.mask hides: mask "
        "attention and pooling by the mask of the tokens, not by that of the batch",
    )


@torch.no_grad()
def sees_no_later_token_if_causal(checked: CheckedPart) -> None:
    """Under `is_causal` tokens after one do not change its features, nor does what is only in their targets."""
    encoder, tokens = _encoder_and_tokens(checked)
    if not encoder.is_causal:
        raise SkipTest("it is not causal")
    whole, valid_BT = encoder.encode_tokens(tokens), tokens.valid()
    steps_T = torch.arange(tokens.x.shape[1])
    for first in {1, len(steps_T) // 2, len(steps_T) - 1} - {0, -1}:
        made = encoder.encode_tokens(_garbled(tokens, (steps_T >= first).expand(valid_BT.shape))).tokens
        same = close(made[:, :first][valid_BT[:, :first]], whole.tokens[:, :first][valid_BT[:, :first]])
        expect(same, f"it says is_causal, and its tokens before {first} change with those from {first} on")
    targets = encoder.token_targets(checked.batch)
    for batch in _changed_somewhere(checked.batch):
        is_later_BT = _differs(encoder.token_targets(batch), targets).cumsum(1) > 0
        before_BT = valid_BT & ~is_later_BT & is_later_BT.any(1, keepdim=True)
        made = encoder.encode_tokens(encoder.tokenize(batch)).tokens
        expect(
            close(made[before_BT], whole.tokens[before_BT]),
            "it says is_causal, and tokens change with content that only the targets of later tokens have: tokenize "
            "without looking ahead",
        )


@torch.no_grad()
def has_token_targets_within_target_dim(checked: CheckedPart) -> None:
    """Targets of valid tokens are finite, or class ids from 0 to below `target_dim`, in every batch of the samples."""
    encoder, _ = _encoder_and_tokens(checked)
    rows = [checked.modality.collate([example]) for example in checked.examples()]
    for batch in (checked.batch, *rows):
        targets, valid_BT = encoder.token_targets(batch), encoder.tokenize(batch).valid()
        if targets.is_floating_point():
            width = targets.shape[-1]
            expect(width == encoder.target_dim, f"a target has {width} numbers; target_dim is {encoder.target_dim}")
            expect(bool(targets[valid_BT].isfinite().all()), "targets of valid tokens are not finite")
        else:
            low, high = int(targets[valid_BT].min()), int(targets[valid_BT].max())
            expect(
                low >= 0 and high < encoder.target_dim,
                f"class ids of targets reach from {low} to {high}, and target_dim = {encoder.target_dim} allows 0 to "
                f"{encoder.target_dim - 1}",
            )


@torch.no_grad()
def aligns_token_targets_with_tokens(checked: CheckedPart) -> None:
    """What changes one token of the input changes the target of that token the most."""
    encoder, tokens = _encoder_and_tokens(checked)
    targets = encoder.token_targets(checked.batch)
    for batch in _changed_somewhere(checked.batch):
        token_BT = (encoder.tokenize(batch).x - tokens.x).abs().amax(-1)
        target_BT = _difference(encoder.token_targets(batch), targets)
        changed_B = (token_BT.amax(1) > 0) & (target_BT.amax(1) > 0)
        most_B1 = target_BT.argmax(1, keepdim=True)
        wrong = (changed_B & (token_BT.gather(1, most_B1)[:, 0] == 0)).nonzero().flatten().tolist()
        if wrong:
            row = wrong[0]
            expect(
                False,
                f"a change of record {row} that reaches token {int(token_BT[row].argmax())} changes the target of "
                f"token {int(most_B1[row])}, whose input is as it was: targets must be in the order of tokens",
            )


def trains_every_parameter_on_kept_tokens(checked: CheckedPart) -> None:
    """Every trainable parameter contributes to the features of kept tokens; DDP refuses one that does not."""
    encoder = checked.new_encoder().train()
    if not isinstance(encoder, TokenEncoder):
        raise SkipTest("it is not a token encoder")
    tokens = encoder.tokenize(checked.batch)
    features = encoder.encode_tokens(tokens, _keep(tokens))
    (features.pooled.float().square().sum() + features.tokens.float().square().sum()).backward()
    unused = [name for name, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    expect(not unused, f"no gradient of kept tokens reaches {', '.join(unused[:3])}")


def _encoder_and_tokens(checked: CheckedPart) -> tuple[TokenEncoder, Tokens]:
    """Return the encoder in eval mode and the tokens of the samples, or skip the check of another encoder."""
    encoder = checked.encoder
    if not isinstance(encoder, TokenEncoder):
        raise SkipTest("it is not a token encoder")
    if "tokens" not in checked.kept:
        checked.kept["tokens"] = encoder.tokenize(checked.batch)
    return encoder, checked.kept["tokens"]


def _keep(tokens: Tokens) -> Tensor:
    """Return half of the tokens of each record, valid ones first, another half for each: int64 (B, K)."""
    valid_BT = tokens.valid()
    drawn_BT = torch.rand(valid_BT.shape, generator=rng("kept tokens")) + ~valid_BT
    return drawn_BT.argsort(1)[:, : (valid_BT.shape[1] + 1) // 2]


def _garbled(tokens: Tokens, where_BT: Tensor) -> Tokens:
    """Return tokens with other numbers at some of them."""
    noise = torch.randn(tokens.x.shape, generator=rng("garbled")).to(tokens.x.dtype)
    return replace(tokens, x=torch.where(where_BT[..., None], 3 * noise + 1, tokens.x))


def _flops(encoder: TokenEncoder, tokens: Tokens, keep_BK: Tensor | None) -> int:
    # With gradients, as it fails at an expanded parameter, such as a learned query, without them.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        encoder.encode_tokens(tokens, keep_BK)
    return counter.get_total_flops()


def _changed_somewhere(batch: Batch, times: int = 3) -> Iterator[Batch]:
    """Iterate over batches of which each has, in one field, one other value in every record.

    Numbers are moved, ids become those of the next record there. Fields without an axis behind that of records, such
    as lengths, and of other layouts, such as edges, stay.
    """
    draw = rng("changed somewhere")
    for name, field in batch.tensors().items():
        if field.dtype == torch.bool or field.ndim < 2 or len(field) != len(batch):
            continue
        flat_BN = field.flatten(1)
        for _ in range(times if flat_BN.shape[1] else 0):
            at_B1 = torch.randint(flat_BN.shape[1], (len(batch), 1), generator=draw)
            old_B1 = flat_BN.gather(1, at_B1)
            if field.is_floating_point():
                new_B1 = old_B1 + 1 + flat_BN.std(1, keepdim=True, correction=0)
            elif field.dtype == torch.uint8:
                new_B1 = old_B1 + 128
            else:
                new_B1 = flat_BN.roll(1, 0).gather(1, at_B1)
            yield replace(batch, **{name: flat_BN.scatter(1, at_B1, new_B1.to(field.dtype)).view(field.shape)})


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """Return by how much the targets of tokens differ, float (B, T)."""
    difference = (one.double() - other.double()).nan_to_num().abs()
    return difference.amax(-1) if one.is_floating_point() else (difference > 0).double()


def _differs(one: Tensor, other: Tensor) -> Tensor:
    """Return which tokens have other targets, bool (B, T)."""
    return _difference(one, other) > 0


CHECKS = (
    returns_tokens_of_the_declared_shapes,
    encodes_a_subset_of_tokens,
    encodes_kept_tokens_alone,
    encodes_copies_of_records_alike,
    ignores_padded_tokens,
    honors_a_mask_of_kept_tokens,
    sees_no_later_token_if_causal,
    has_token_targets_within_target_dim,
    aligns_token_targets_with_tokens,
    trains_every_parameter_on_kept_tokens,
)
