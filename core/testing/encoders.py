"""Checks of encoders."""

from __future__ import annotations

from unittest import SkipTest

import torch
from torch import Tensor

from sensorium import seeding
from sensorium.contracts import Encoder, TokenEncoder
from sensorium.testing.checked_part import CheckedPart, expect, expect_few_waits
from sensorium.testing.emulation import Emulation, emulated_device
from sensorium.types import Features


def returns_pooled_features_of_its_declared_dim(checked: CheckedPart) -> None:
    """`forward` returns `Features` with `pooled` finite float (B, dim)."""
    encoder = checked.new_encoder().eval()
    features, shape = encoder(checked.batch), (len(checked.batch), encoder.dim)
    expect(isinstance(features, Features), f"it returns a {type(features).__name__}, not Features")
    found = tuple(features.pooled.shape)
    expect(found == shape, f"pooled is {found}; with dim = {encoder.dim} it must be {shape}")
    expect(features.pooled.is_floating_point(), f"pooled has dtype {features.pooled.dtype}, not a float")
    expect(bool(features.pooled.isfinite().all()), "pooled is not finite")


@torch.no_grad()
def is_deterministic_in_eval_mode(checked: CheckedPart) -> None:
    """In eval mode the same batch has the same features, whatever the state of the global generators."""
    encoder = checked.new_encoder().eval()
    made = []
    for number in range(2):
        seeding.seed_globals("is_deterministic", number)
        made.append(encoder(checked.batch).pooled)
    expect(torch.equal(*made), "two forward passes in eval mode differ")


@torch.no_grad()
def encodes_each_record_independently(checked: CheckedPart) -> None:
    """In eval mode the features of a record do not depend on the other records of its batch."""
    encoder = checked.new_encoder().eval()
    together = encoder(checked.batch).pooled
    for row in range(len(checked.batch)):
        alone = encoder(checked.batch.select(torch.tensor([row]))).pooled[0]
        expect(_close(together[row], alone), f"record {row} has other features alone than in its batch")


@torch.no_grad()
def restores_from_its_state_dict(checked: CheckedPart) -> None:
    """A new encoder that loads the state_dict of another returns the same features."""
    encoder, other = checked.new_encoder().eval(), checked.new_encoder().eval()
    for parameter in encoder.parameters():
        parameter.add_(0.01)
    other.load_state_dict(encoder.state_dict())
    expect(
        _close(encoder(checked.batch).pooled, other(checked.batch).pooled),
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
def returns_tokens_of_the_declared_shapes(checked: CheckedPart) -> None:
    """A token encoder returns tokens, positions, mask and token targets in the shapes of the contract."""
    encoder = _token_encoder(checked)
    tokens = encoder.tokenize(checked.batch)
    b, t, d = tokens.x.shape
    expect((b, d) == (len(checked.batch), encoder.dim), f"tokenize gives x {(b, t, d)} for dim = {encoder.dim}")
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
    """`encode_tokens` returns the tokens of `keep` in its order, or all tokens without it."""
    encoder = _token_encoder(checked)
    tokens = encoder.tokenize(checked.batch)
    b, t, d = tokens.x.shape
    whole = encoder.encode_tokens(tokens)
    expect(whole.tokens is not None, "encode_tokens returns no tokens")
    expect(tuple(whole.tokens.shape) == (b, t, d), f"all tokens encode to {tuple(whole.tokens.shape)}, not {(b, t, d)}")
    expect(_close(whole.pooled, encoder(checked.batch).pooled), "encoding all tokens differs from forward")
    k = (t + 1) // 2
    keep = torch.arange(k).expand(b, k)
    kept, turned = encoder.encode_tokens(tokens, keep), encoder.encode_tokens(tokens, keep.flip(1))
    shape = tuple(kept.tokens.shape)
    expect(shape == (b, k, d), f"{k} kept tokens encode to {shape}, not {(b, k, d)}")
    valid = kept.valid()
    expect(tuple(valid.shape) == (b, k), f"the mask of {k} kept tokens is {tuple(valid.shape)}")
    expect(
        _close(kept.tokens[valid], turned.tokens.flip(1)[valid]),
        "kept tokens depend on the order of keep: they do not keep their position embeddings",
    )


def _token_encoder(checked: CheckedPart) -> TokenEncoder:
    encoder: Encoder = checked.new_encoder().eval()
    if not isinstance(encoder, TokenEncoder):
        raise SkipTest("it is not a token encoder")
    return encoder


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-4)


CHECKS = (
    returns_pooled_features_of_its_declared_dim,
    is_deterministic_in_eval_mode,
    encodes_each_record_independently,
    restores_from_its_state_dict,
    propagates_gradient_to_every_parameter,
    runs_on_a_gpu,
    encodes_a_batch_of_no_rows,
    returns_tokens_of_the_declared_shapes,
    encodes_a_subset_of_tokens,
)
