"""What every token encoder of a library must do, whatever its family: dropped tokens, positions, noise, one step.

A test makes a tiny model of the family (width 32 to 64, depth 2, layer scale 1, a grid that is not square) and calls
these checks with a batch of at least three records. Letters: B records, T tokens, D features, K kept tokens.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sensorium import Batch, Features, TokenDecoder, TokenEncoder, Tokens, View, build, take_tokens
from sensorium.blocks.lora import adapt, is_factor, linear_maps, merged_copy
from sensorium.errors import RecipeError
from sensorium.models.depth import freeze, rate_factors
from sensorium.models.learner import Learner
from sensorium.registration.discovery import load_extensions
from sensorium.training.gradient_checkpointing import checkpoint_blocks

TOLERANCE = 1e-5
SMALL = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "prototypes": 8,
    "bottleneck": 8,
    "distractors": 2,
    "codebook_size": 4,
    "clusters": 2,
}
"""Options that keep an objective small, of which each takes those that it has."""
CLUSTERS = (
    {"targets": "k-means", "mask": "spans", "mask_length": 2, "k_means": {"of": "start", "layer": 1, "dim": 8}},
    {"targets": "online", "mask": "inverse-block", "predictor": {"depth": 1, "width": 16, "heads": 2}},
)
"""Options of masked-clusters that serve any tokens."""
CAUSAL = ("next-token", "next-embedding")
"""Objectives of causal encoders."""


def shuffled_keep(tokens: Tokens, fraction: float = 0.5, seed: int = 0) -> Tensor:
    """Return a fraction of the valid tokens of each record, others for each and in random order: int64 (B, K)."""
    valid_BT = tokens.valid().cpu()
    drawn_BT = torch.rand(valid_BT.shape, generator=torch.Generator().manual_seed(seed)) + 2 * ~valid_BT
    count = max(int(fraction * int(valid_BT.sum(1).min())), 1)
    return drawn_BT.argsort(1)[:, :count]


def kept_mask(tokens: Tokens, keep_BK: Tensor) -> Tensor:
    """Return which tokens are kept, bool (B, T)."""
    return torch.zeros(tokens.x.shape[:2], dtype=torch.bool).scatter(1, keep_BK, True)


@torch.no_grad()
def check_shapes(encoder: TokenEncoder, batch: Batch) -> None:
    """Tokens, positions, masks and targets have the shapes of the contract; a pass over all is `forward`."""
    encoder.eval()
    tokens, features, targets = encoder.tokenize(batch), encoder(batch), encoder.token_targets(batch)
    b, t, d = tokens.x.shape
    assert (b, d) == (len(batch), encoder.token_dim)
    assert tokens.positions.shape in ((1, t, d), (b, t, d))
    assert features.pooled.shape == (b, encoder.dim)
    assert features.pooled.isfinite().all()
    assert features.tokens is not None
    assert features.tokens.shape == (b, t, d)
    assert targets.shape == ((b, t, encoder.target_dim) if targets.is_floating_point() else (b, t))
    assert encoder.grid is None or encoder.grid[0] * encoder.grid[1] == t
    again = encoder.encode_tokens(tokens)
    torch.testing.assert_close(again.pooled, features.pooled, atol=TOLERANCE, rtol=TOLERANCE)


@torch.no_grad()
def check_kept_tokens(
    encoder: TokenEncoder,
    batch: Batch,
    atol: float = TOLERANCE,
    masked_pass: Callable[[Tokens, Tensor], Features] | None = None,
) -> None:
    """Kept tokens, in shuffled order, come out as of a full pass with all others masked from attention; so does pooled.

    Args:
        encoder: whose blocks move a token enough to see its position: layer scale 1.
        batch: at least three records.
        atol: absolute tolerance, of features of about 1.
        masked_pass: tokens and which are kept, bool (B, T), to features of all T; default, the encoder with these as
            the padding mask of its tokens.
    """
    encoder.eval()
    tokens = encoder.tokenize(batch)
    for fraction, seed in ((0.25, 0), (0.6, 1), (1.0, 2)):
        keep_BK = shuffled_keep(tokens, fraction, seed)
        kept_BT = kept_mask(tokens, keep_BK)
        full = (masked_pass or _with_mask(encoder))(tokens, kept_BT)
        kept = encoder.encode_tokens(tokens, keep_BK)
        torch.testing.assert_close(kept.tokens, take_tokens(full.tokens, keep_BK), atol=atol, rtol=atol)
        torch.testing.assert_close(kept.pooled, full.pooled, atol=atol, rtol=atol)
    others = encoder.encode_tokens(tokens, keep_BK.roll(1, 0)[:, : keep_BK.shape[1] // 2])
    assert not torch.allclose(others.pooled, kept.pooled, atol=1e-4), "other tokens give the same features: vacuous"
    _check_places_matter(encoder, tokens)


def _with_mask(encoder: TokenEncoder) -> Callable[[Tokens, Tensor], Features]:
    return lambda tokens, kept_BT: encoder.encode_tokens(replace(tokens, mask=kept_BT))


def _check_places_matter(encoder: TokenEncoder, tokens: Tokens) -> None:
    """Check that a token at the place of another comes out differently, so that a test of places can fail."""
    keep_BK = shuffled_keep(tokens, 0.5)
    swapped_BK = torch.cat([keep_BK[:, :2].flip(1), keep_BK[:, 2:]], dim=1)
    contents = replace(tokens, x=tokens.x.scatter(1, _wide(keep_BK, tokens.x), take_tokens(tokens.x, swapped_BK)))
    plain, swapped = encoder.encode_tokens(tokens, keep_BK).tokens, encoder.encode_tokens(contents, keep_BK).tokens
    assert not torch.allclose(swapped[:, :2].flip(1), plain[:, :2], atol=1e-4), (
        "two tokens that swap places do not care"
    )


def _wide(index_BK: Tensor, x_BTD: Tensor) -> Tensor:
    return index_BK[..., None].expand(-1, -1, x_BTD.shape[2])


@torch.no_grad()
def check_noise_in_dropped_tokens(encoder: TokenEncoder, batch: Batch, atol: float = 1e-6) -> None:
    """Whatever stands at tokens that are not kept, or are padding, changes neither kept tokens nor pooled features."""
    encoder.eval()
    tokens = encoder.tokenize(batch)
    keep_BK = shuffled_keep(tokens)
    dropped_BT = ~kept_mask(tokens, keep_BK)
    kept, changed = (encoder.encode_tokens(t, keep_BK) for t in (tokens, _noisy(tokens, dropped_BT)))
    torch.testing.assert_close(changed.tokens, kept.tokens, atol=atol, rtol=atol)
    torch.testing.assert_close(changed.pooled, kept.pooled, atol=atol, rtol=atol)
    if tokens.mask is not None and not tokens.mask.all():
        whole, changed = (encoder.encode_tokens(t) for t in (tokens, _noisy(tokens, ~tokens.mask)))
        torch.testing.assert_close(changed.tokens[tokens.mask], whole.tokens[tokens.mask], atol=atol, rtol=atol)
        torch.testing.assert_close(changed.pooled, whole.pooled, atol=atol, rtol=atol)


def _noisy(tokens: Tokens, where_BT: Tensor) -> Tokens:
    noise = 5 * torch.randn(tokens.x.shape, generator=torch.Generator().manual_seed(7)) + 1
    return replace(tokens, x=torch.where(where_BT[..., None], noise.to(tokens.x.dtype), tokens.x))


@torch.no_grad()
def check_hidden_places(encoder: TokenEncoder, batch: Batch) -> None:
    """A decoder that is told places by `Tokens.positions` guesses differently at any two hidden ones; order is free."""
    encoder.eval()
    tokens = encoder.tokenize(batch)
    d = tokens.x.shape[2]
    places_TD = tokens.positions[0]
    apart_TT = torch.cdist(places_TD, places_TD).fill_diagonal_(torch.inf)
    assert apart_TT.min() > 1e-3, "two tokens of a record have the same positions: decoders cannot tell them apart"
    torch.manual_seed(0)
    decoder = TokenDecoder(d, 8, 16, 1, 2).eval()
    keep_BK = shuffled_keep(tokens)
    hidden_BM = (~kept_mask(tokens, keep_BK) & tokens.valid()).float().topk(2, dim=1).indices
    valid_BM = torch.ones_like(hidden_BM, dtype=torch.bool)
    visible = encoder.encode_tokens(tokens, keep_BK)
    guess, turned = (
        decoder(visible, tokens.positions, keep_BK, index_BM, valid_BM) for index_BM in (hidden_BM, hidden_BM.flip(1))
    )
    torch.testing.assert_close(turned.flip(1), guess, atol=TOLERANCE, rtol=TOLERANCE)
    assert ((guess[:, 0] - guess[:, 1]).abs().amax(1) > 1e-4).all(), "the decoder is blind to places"


def check_two_passes_equal(encoder: TokenEncoder, batch: Batch) -> None:
    """In training one seed of torch decides everything, and in evaluation there is nothing to decide.

    Other generators, such as NumPy's, are not drawn from; a pass on an evaluating copy of the encoder, as a teacher
    is, is the same every time.
    """
    state = np.random.get_state()
    encoder.train()
    trained = []
    for _ in range(2):
        torch.manual_seed(3)
        trained.append(encoder(batch))
    assert torch.equal(trained[0].pooled, trained[1].pooled)
    assert torch.equal(trained[0].tokens, trained[1].tokens)
    encoder.eval()
    with torch.no_grad():
        one, other = encoder(batch), encoder(batch)
    assert torch.equal(one.pooled, other.pooled)
    assert torch.equal(one.tokens, other.tokens)
    after = np.random.get_state()
    assert all(np.array_equal(before, now) for before, now in zip(state, after, strict=True)), "it draws from NumPy"


@torch.no_grad()
def check_padding(encoder: TokenEncoder, batch: Batch, atol: float = TOLERANCE) -> None:
    """A mask that is True everywhere is no mask, and a record alone is as it is in its batch."""
    encoder.eval()
    tokens = encoder.tokenize(batch)
    if tokens.mask is None:
        all_valid = torch.ones(tokens.x.shape[:2], dtype=torch.bool)
        masked, plain = encoder.encode_tokens(replace(tokens, mask=all_valid)), encoder.encode_tokens(tokens)
        torch.testing.assert_close(masked.tokens, plain.tokens, atol=atol, rtol=atol)
        torch.testing.assert_close(masked.pooled, plain.pooled, atol=atol, rtol=atol)
    together = encoder(batch)
    for row in range(len(batch)):
        alone = encoder(batch.select(torch.tensor([row])))
        torch.testing.assert_close(alone.pooled[0], together.pooled[row], atol=atol, rtol=atol)


def check_no_rows(encoder: TokenEncoder, batch: Batch) -> None:
    """A batch of no rows, which a rank without a record of the modality has, passes forward and backward."""
    encoder.train()
    nothing = batch.select(torch.zeros(0, dtype=torch.int64))
    tokens = encoder.tokenize(nothing)
    features = encoder.encode_tokens(tokens)
    assert features.pooled.shape == (0, encoder.dim)
    kept = encoder.encode_tokens(tokens, torch.zeros(0, 1, dtype=torch.int64))
    assert kept.tokens.shape == (0, 1, encoder.token_dim)
    assert len(encoder.token_targets(nothing)) == 0
    (features.pooled.sum() + kept.tokens.sum()).backward()
    encoder.zero_grad()


def token_objectives(encoder: TokenEncoder) -> list[str]:
    """Return the registered objectives that need tokens of one modality, and no target that only some views have."""
    names = []
    for spec in load_extensions({}, []).registry.specs("objectives"):
        needs = spec.load().needs
        if needs.tokens and needs.takes(1) and needs.target is None:
            names.append(spec.name)
    refused = ("multimae",) if encoder.is_causal else ("next-token", "next-embedding")
    return [name for name in names if name not in refused]


def check_one_step(
    encoder: TokenEncoder, modality: str, batch: Batch, objective: str, options: Mapping[str, Any] | None = None
) -> None:
    """One optimizer step under an objective: a finite loss, gradients at all weights that train, weights that move.

    Args:
        encoder: a copy of it is trained.
        modality: its modality's name.
        batch: at least three records; each view is this batch.
        objective: a registered name.
        options: of the objective, besides `SMALL`.
    """
    learner = step_learner(encoder, modality, objective, options)
    views = [View(batch) for _ in range(learner.objective.needs.views)]
    learner.fit([views])
    optimizer = torch.optim.AdamW([p for p in learner.parameters() if p.requires_grad], lr=1e-3)
    torch.manual_seed(1)
    loss = learner(views).loss
    assert loss.isfinite(), f"the loss of '{objective}' is {loss}"
    loss.backward()
    encoders = dict(learner.encoders[modality].named_parameters())
    lacking = [name for name, p in encoders.items() if p.requires_grad and p.grad is None]
    assert not lacking, f"under '{objective}' no gradient reaches {lacking[:5]}: DDP would wait for it"
    before = copy.deepcopy(learner.encoders[modality].state_dict())
    optimizer.step()
    learner.objective.after_step(0.5)
    after = learner.encoders[modality].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())


def step_learner(
    encoder: TokenEncoder, modality: str, objective: str, options: Mapping[str, Any] | None = None
) -> Learner:
    """Return a learner of a copy of the encoder under a small form of an objective, in training mode."""
    cls = load_extensions({}, []).registry.find("objectives", objective).load()
    known = {name for kind in cls.__mro__ if kind is not nn.Module for name in _parameters(kind)}
    small = {name: value for name, value in SMALL.items() if name in known} | dict(options or {})
    torch.manual_seed(0)
    return Learner({modality: copy.deepcopy(encoder)}, build("objective", objective, **small)).train()


def _parameters(kind: type) -> set[str]:
    return set(inspect.signature(kind.__init__).parameters) if "__init__" in vars(kind) else set()


def check_every_objective(encoder: TokenEncoder, modality: str, batch: Batch) -> list[str]:
    """Take one step under every objective that needs tokens; return their names.

    `next-token` and `next-embedding` refuse an encoder that looks ahead, `ibot` one whose tokens are of another width
    than its pooled features, and `masked-clusters` of the input one whose tokens are class ids, in a sentence.
    """
    names = token_objectives(encoder)
    assert len(names) >= 8, "the registry lists the objectives that need tokens"
    if encoder.token_dim != encoder.dim:
        names.remove("ibot")
        with pytest.raises(RecipeError, match="choose another encoder, or the objective 'dinov2'"):
            step_learner(encoder, modality, "ibot")
    for options in CLUSTERS:
        check_one_step(encoder, modality, batch, "masked-clusters", options)
    if not encoder.token_targets(batch).is_floating_point():
        names.remove("masked-clusters")
        with pytest.raises(RecipeError, match=r"are class ids, and so clusters already: .* objective\.targets=online"):
            check_one_step(encoder, modality, batch, "masked-clusters")
    for name in names:
        check_one_step(encoder, modality, batch, name)
    for name in () if encoder.is_causal else CAUSAL:
        with pytest.raises(RecipeError, match="needs a causal encoder"):
            step_learner(encoder, modality, name)
    return names


def check_adapters(encoder: TokenEncoder, batch: Batch) -> None:
    """No adapter of a linear map is bypassed, in training or evaluation, and merging changes nothing."""
    adapted, x = copy.deepcopy(encoder).eval(), batch
    before = encoder.eval()(x)
    _summed(before).backward(inputs=[p for p in encoder.parameters() if p.requires_grad])
    used = {name for name, p in encoder.named_parameters() if p.grad is not None and p.grad.any()}
    encoder.zero_grad()
    maps = linear_maps(adapted)
    adapt(adapted, rank=2, rng=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if is_factor(name) and not parameter.any():
            nn.init.normal_(parameter, std=0.1, generator=rng)
    after = adapted(x)
    assert (after.pooled - before.pooled).abs().max() > 1e-4
    _summed(after).backward()
    gradients = {name: p.grad for name, p in adapted.named_parameters() if is_factor(name)}
    assert len(gradients) == 2 * len(maps)
    for name, gradient in gradients.items():
        owner, _, factor = name.partition(".lora_")
        weight = f"{owner}.{factor.rpartition('.')[0]}"
        assert weight not in used or (gradient is not None and gradient.any()), f"{weight} bypasses its adapter"
    with torch.inference_mode():
        for module in (adapted, merged_copy(adapted)):
            torch.testing.assert_close(module(x).pooled, after.pooled.detach(), atol=TOLERANCE, rtol=TOLERANCE)


def check_recomputed_blocks(encoder: TokenEncoder, batch: Batch) -> None:
    """Blocks that are computed again in the backward pass give the gradients of those that are kept, dropout too."""
    found = []
    for recomputed in (False, True):
        made = copy.deepcopy(encoder).train()
        if recomputed:
            checkpoint_blocks({"it": made})
        torch.manual_seed(0)
        _summed(made(batch)).backward()
        found.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def check_depth(encoder: TokenEncoder) -> None:
    """Rates rise from the embeddings to what is behind the blocks, and freezing by depth leaves the others."""
    factors = rate_factors(encoder, 0.5, "layer_decay")
    stack = encoder.layer_stack()
    assert stack is not None
    last = len(stack.blocks)
    assert min(factors.values()) == 0.5 ** (last + 1), "something lies before the blocks"
    for number, block in enumerate(stack.blocks, 1):
        assert {factors[id(p)] for p in block.parameters()} == {0.5 ** (last + 1 - number)}
    frozen = copy.deepcopy(encoder)
    freeze(frozen, last, "frozen")
    behind = set(map(id, frozen.layer_stack().parameters_behind()))  # type: ignore[union-attr]
    assert all(p.requires_grad == (id(p) in behind) for p in frozen.parameters() if p.requires_grad)


def _summed(features: Features) -> Tensor:
    assert features.tokens is not None
    return features.pooled.square().sum() + features.tokens.square().mean()


def check_family(encoder: TokenEncoder, batch: Batch, atol: float = TOLERANCE) -> None:
    """Run every check that needs neither modality nor objective."""
    check_shapes(encoder, batch)
    check_kept_tokens(encoder, batch, atol)
    check_noise_in_dropped_tokens(encoder, batch)
    check_hidden_places(encoder, batch)
    check_two_passes_equal(encoder, batch)
    check_padding(encoder, batch, atol)
    check_no_rows(encoder, batch)
    check_adapters(encoder, batch)
    if encoder.layer_stack() is not None:
        check_recomputed_blocks(encoder, batch)
        check_depth(encoder)
