"""Checks of encoders."""

from __future__ import annotations

from dataclasses import replace
from unittest import SkipTest

import torch

from sensorium import seeding
from sensorium.contracts import TokenEncoder
from sensorium.testing import layers, token_encoders
from sensorium.testing.checked_part import CheckedPart, expect, expect_few_waits
from sensorium.testing.emulation import Emulation, emulated_device
from sensorium.testing.equality import close
from sensorium.types import Batch, Features


def returns_pooled_features_of_its_declared_dim(checked: CheckedPart) -> None:
    """`forward` returns `Features` with `pooled` finite float (B, dim)."""
    encoder, features = checked.encoder, checked.features
    shape = len(checked.batch), encoder.dim
    expect(isinstance(features, Features), f"it returns a {type(features).__name__}, not Features")
    found = tuple(features.pooled.shape)
    expect(found == shape, f"pooled is {found}; with dim = {encoder.dim} it must be {shape}")
    expect(features.pooled.is_floating_point(), f"pooled has dtype {features.pooled.dtype}, not a float")
    expect(bool(features.pooled.isfinite().all()), "pooled is not finite")


@torch.no_grad()
def is_deterministic_in_eval_mode(checked: CheckedPart) -> None:
    """In eval mode the same batch has the same features, whatever the state of the global generators."""
    encoder, made = checked.encoder, []
    for number in range(2):
        seeding.seed_globals("is_deterministic", number)
        made.append(encoder(checked.batch).pooled)
    expect(torch.equal(*made), "two forward passes in eval mode differ")


@torch.no_grad()
def encodes_each_record_independently(checked: CheckedPart) -> None:
    """In eval mode the features of a record do not depend on the other records of its batch."""
    encoder, together = checked.encoder, checked.features.pooled
    for row in range(len(checked.batch)):
        alone = encoder(checked.batch.select(torch.tensor([row]))).pooled[0]
        expect(close(together[row], alone), f"record {row} has other features alone than in its batch")


@torch.no_grad()
def restores_from_its_state_dict(checked: CheckedPart) -> None:
    """A new encoder that loads the state_dict of another returns the same features."""
    encoder, other = checked.new_encoder().eval(), checked.new_encoder().eval()
    for parameter in encoder.parameters():
        parameter.add_(0.01)
    other.load_state_dict(encoder.state_dict())
    expect(
        close(encoder(checked.batch).pooled, other(checked.batch).pooled),
        "an encoder that loads the state_dict of another returns other features: it has state outside the state_dict",
    )


def propagates_gradient_to_every_parameter(checked: CheckedPart) -> None:
    """Every trainable parameter contributes to the features; DDP raises an error for one that does not."""
    encoder = checked.new_encoder().train()
    features = encoder(checked.batch)
    parts = [features.pooled] + ([features.tokens] if features.tokens is not None else [])
    loss = sum((part.float() * torch.linspace(-1, 1, part.shape[-1])).pow(2).sum() for part in parts)
    loss.backward()
    trained = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    unused = [name for name, p in trained.items() if p.grad is None]
    expect(not unused, f"no gradient reaches {', '.join(unused[:3])}{' and others' if len(unused) > 3 else ''}")
    expect(not trained or any(bool(p.grad.abs().sum() > 0) for p in trained.values()), "every gradient is zero")


def runs_on_a_gpu(checked: CheckedPart) -> None:
    """On an emulated CUDA device, in bf16 mixed precision, it mixes no devices or dtypes, and waits once at most."""
    with Emulation() as emulation:
        encoder = checked.new_encoder().train().to(emulated_device())
        batch = checked.batch.to(emulated_device())
        with torch.autocast(emulated_device().type, dtype=torch.bfloat16):
            made = [encoder(batch)]
            if isinstance(encoder, TokenEncoder):
                tokens = encoder.tokenize(batch)
                keep = torch.arange(1, device=emulated_device()).expand(len(batch), 1)
                made += [encoder.encode_tokens(tokens), encoder.encode_tokens(tokens, keep)]
        parts = [part for features in made for part in (features.pooled, features.tokens) if part is not None]
        loss = torch.stack([part.float().square().sum() for part in parts]).sum()
        expect(bool(loss.isfinite()), "in bf16 mixed precision its features are not finite")
        if loss.requires_grad:
            loss.backward()
        emulation.synchronizations.clear()  # the first time, constants may be copied to the device
        with torch.autocast(emulated_device().type, dtype=torch.bfloat16):
            pooled = encoder(batch).pooled
        if pooled.requires_grad:
            pooled.float().square().sum().backward()
        expect_few_waits(emulation.synchronizations, 1, "encoding a batch, with its backward pass,")


def encodes_a_batch_of_no_rows(checked: CheckedPart) -> None:
    """A batch of no rows, such as of a rank whose records lack the modality, has features of no rows and a gradient."""
    encoder = checked.new_encoder().train()
    nothing = checked.batch.select(torch.zeros(0, dtype=torch.int64))
    expect(len(nothing) == 0, f"selecting no row of a {type(nothing).__name__} leaves {len(nothing)}")
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    features = encoder(nothing)
    found = tuple(features.pooled.shape)
    expect(found == (0, encoder.dim), f"pooled is {found}; of no rows it must be {(0, encoder.dim)}")
    parts = [features.pooled] + ([features.tokens] if features.tokens is not None else [])
    sum(part.float().sum() for part in parts).backward()
    trained = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    unused = [name for name, p in trained.items() if p.grad is None]
    expect(not unused, f"no gradient, not even zero, reaches {', '.join(unused[:3])}")
    expect(all(not bool(p.grad.any()) for p in trained.values() if p.grad is not None), "no rows have a gradient")
    moved = [name for name, buffer in encoder.named_buffers() if not torch.equal(buffer, before[name])]
    moved = [name for name in moved if not name.endswith("num_batches_tracked")]
    expect(not moved, f"no rows change {', '.join(moved[:3])}")


@torch.no_grad()
def keeps_the_order_of_rows(checked: CheckedPart) -> None:
    """Records in another order have their features, tokens and token targets in that order."""
    encoder, count = checked.encoder, len(checked.batch)
    turned = torch.tensor(
        [1, 0, *range(2, count)][:count]
    )  # which neither a reversed nor a shifted order commutes with
    batch = checked.batch.select(turned)
    one, other = checked.features, encoder(batch)
    expect(
        close(other.pooled, one.pooled[turned]), "records in another order have their pooled features in yet another"
    )
    if one.tokens is not None and other.tokens.shape == one.tokens.shape:
        valid_BT = one.valid()[turned]
        same_order = close(other.tokens[valid_BT], one.tokens[turned][valid_BT])
        expect(same_order, "records in another order have their tokens in yet another")
    if isinstance(encoder, TokenEncoder):
        targets, expected = encoder.token_targets(batch), encoder.token_targets(checked.batch)[turned]
        same_order = targets.shape == expected.shape and close(targets.nan_to_num(), expected.nan_to_num())
        expect(same_order, "records in another order have their token targets in yet another")


@torch.no_grad()
def ignores_padding(checked: CheckedPart) -> None:
    """A record has the same features and token targets alone, without padding, as in a batch that pads it."""
    encoder, examples = checked.encoder, checked.examples()
    padded = [checked.modality.collate([example]) for example in examples]
    shapes = [_shapes(batch) for batch in (checked.batch, *padded)]
    if all(shape == shapes[0] for shape in shapes):
        raise SkipTest("no sample is padded: they have one size")
    together = checked.features
    targets = encoder.token_targets(checked.batch) if isinstance(encoder, TokenEncoder) else None
    for row, batch in enumerate(padded):
        alone = encoder(batch)
        expect(
            close(together.pooled[row], alone.pooled[0]),
            f"record {row} has other pooled features alone than in a batch that pads it: pool, attend and normalize "
            "over its valid tokens alone",
        )
        if alone.tokens is None:
            continue
        valid_T, alone_T = together.valid()[row], alone.valid()[0]
        expect(
            int(valid_T.sum()) == int(alone_T.sum()),
            f"record {row} has {int(alone_T.sum())} valid tokens alone and {int(valid_T.sum())} in a batch that pads "
            "it: padding counts as valid in the mask",
        )
        expect(
            close(together.tokens[row][valid_T], alone.tokens[0][alone_T]),
            f"record {row} has other tokens alone than in a batch that pads it",
        )
        if targets is not None:
            expected = encoder.token_targets(batch)[0][alone_T].nan_to_num()
            same_targets = close(targets[row][valid_T].nan_to_num(), expected)
            expect(same_targets, f"record {row} has other token targets alone than in a batch that pads it")


@torch.no_grad()
def ignores_values_at_padding(checked: CheckedPart) -> None:
    """Where a batch has a `mask`, bool (B, T), what its other fields have at masked places changes no features."""
    mask_BT = checked.batch.tensors().get("mask")
    if mask_BT is None or mask_BT.dtype != torch.bool or mask_BT.ndim != 2 or bool(mask_BT.all()):
        raise SkipTest("its batch has no padding mask, or no padding")
    others = {
        name: torch.where(mask_BT.view(*mask_BT.shape, *[1] * (field.ndim - 2)), field, field[:, :1])
        for name, field in checked.batch.tensors().items()
        if name != "mask" and field.shape[:2] == mask_BT.shape
    }
    changed = checked.encoder(replace(checked.batch, **others))
    expect(
        close(changed.pooled, checked.features.pooled),
        "pooled features change with values where the batch's mask says padding",
    )


def _shapes(batch: Batch) -> list[torch.Size]:
    return [field.shape[1:] for field in batch.tensors().values()]


CHECKS = (
    returns_pooled_features_of_its_declared_dim,
    is_deterministic_in_eval_mode,
    encodes_each_record_independently,
    restores_from_its_state_dict,
    propagates_gradient_to_every_parameter,
    runs_on_a_gpu,
    encodes_a_batch_of_no_rows,
    keeps_the_order_of_rows,
    ignores_padding,
    ignores_values_at_padding,
    *layers.CHECKS,
    *token_encoders.CHECKS,
)
