"""Mutants of encoders."""

from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from sensorium import Features, LayerStack, TokenEncoder, Tokens
from tests.core.testing.mutants import _sequences, caught_by

MODALITY, SAMPLES = _sequences.Sequences, _sequences.SAMPLES


class Attends(TokenEncoder):
    """One layer of attention over valid tokens, and their mean."""

    def __init__(self, modality):
        super().__init__()
        self.dim, self.target_dim = 8, modality.size
        self.embed = nn.Embedding(modality.size, 8)
        self.query, self.value, self.map = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def tokenize(self, batch):
        steps = torch.arange(batch.ids.shape[1], device=batch.device)
        angles = steps[None, :, None] / torch.arange(1.0, 9, device=batch.device)
        return Tokens(self.embed(batch.ids), angles.sin(), batch.mask)

    def encode_tokens(self, tokens, keep=None):
        tokens = tokens if keep is None else tokens.take(keep)
        x = tokens.x + tokens.positions
        weights = self.scores(x, tokens).softmax(-1).to(x.dtype)
        x = x + self.map(weights @ self.value(x))
        return Features(self.pool(x, tokens), x, tokens.mask)

    def scores(self, x, tokens):
        scores = self.query(x).float() @ x.float().transpose(1, 2)
        return scores.masked_fill(~tokens.mask[:, None], -1e4)

    def pool(self, x, tokens):
        return (x * tokens.mask[..., None]).sum(1) / tokens.mask.sum(1, keepdim=True).clamp(min=1)

    def token_targets(self, batch):
        return batch.ids


class AttendsBackwards(Attends):
    """The same, of which no token sees a later one."""

    is_causal = True

    def scores(self, x, tokens):
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        return super().scores(x, tokens).masked_fill(later, -1e4)

    def encode_tokens(self, tokens, keep=None):
        if keep is None:
            return super().encode_tokens(tokens)
        order = keep.argsort(1)
        made = super().encode_tokens(tokens, keep.gather(1, order))
        return made.take(order.argsort(1))


@caught_by("ignores padding")
class PoolsPadding(Attends):
    def pool(self, x, tokens):
        return x.mean(1)


@caught_by("ignores padded tokens")
class PoolsTheLargestOfAll(Attends):
    def pool(self, x, tokens):
        return x.amax(1)


@caught_by("honors a mask of kept tokens")
class AttendsToNothing(Attends):
    """A record of which nothing is left has features that are no numbers."""

    def scores(self, x, tokens):
        return super().scores(x, tokens).masked_fill(~tokens.mask[:, None], -torch.inf)


@caught_by("honors a mask of kept tokens")
class KnowsPaddingFromTheBatch(Attends):
    """What an objective hides by the mask of tokens is pooled all the same: the mask is read off other tokens."""

    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens, keep)
        kept = tokens if keep is None else tokens.take(keep)
        is_padding = (kept.x == self.embed.weight[0]).all(2, keepdim=True)
        return replace(made, pooled=(made.tokens * ~is_padding).mean(1))


@caught_by("ignores padded tokens")
class AttendsToPadding(Attends):
    def scores(self, x, tokens):
        return self.query(x).float() @ x.float().transpose(1, 2)


@caught_by("ignores padding")
class TakesPaddingForValid(Attends):
    def tokenize(self, batch):
        return replace(super().tokenize(batch), mask=torch.ones_like(batch.mask))


@caught_by("ignores padding")
class DividesByPaddedLength(Attends):
    def pool(self, x, tokens):
        return (x * tokens.mask[..., None]).sum(1) / x.shape[1]


@caught_by("ignores padding")
class TargetsRelativeToPaddedLength(Attends):
    def token_targets(self, batch):
        self.target_dim = 1
        return batch.ids[..., None] / batch.ids.shape[1]


@caught_by("ignores values at padding")
class AddsPaddedIds(Attends):
    def tokenize(self, batch):
        tokens = super().tokenize(batch)
        return replace(tokens, x=tokens.x + self.embed(batch.ids).sum(1, keepdim=True))


@caught_by("encodes kept tokens alone")
class EncodesMaskedTokens(Attends):
    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens)
        return made if keep is None else made.take(keep)


@caught_by("encodes kept tokens alone")
class PoolsMaskedTokens(Attends):
    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens, keep)
        return replace(made, pooled=made.pooled + self.pool(tokens.x, tokens))


@caught_by("encodes kept tokens alone")
class ComputesMaskedTokens(Attends):
    """Leaks nothing, and costs what all tokens cost."""

    def encode_tokens(self, tokens, keep=None):
        x = tokens.x + tokens.positions
        x = x + self.map(self.value(self.query(x)))
        mask = tokens.mask
        if keep is not None:
            x, mask = x.gather(1, keep[..., None].expand(-1, -1, 8)), mask.gather(1, keep)
        return Features((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1), x, mask)


@caught_by("encodes kept tokens alone")
class KeepsThoseOfTheFirstRecord(Attends):
    def encode_tokens(self, tokens, keep=None):
        return super().encode_tokens(tokens, None if keep is None else keep[:1].expand(len(keep), -1))


class InterleavedTokens(Tokens):
    """Tokens of which the copies of a record follow each other."""

    def repeat(self, copies):
        return replace(self, x=self.x.repeat_interleave(copies, 0), mask=self.mask.repeat_interleave(copies, 0))


@caught_by("encodes copies of records alike")
class InterleavesCopies(Attends):
    def tokenize(self, batch):
        tokens = super().tokenize(batch)
        return InterleavedTokens(tokens.x, tokens.positions, tokens.mask)


@caught_by("encodes a subset of tokens")
class SortsKeep(Attends):
    def encode_tokens(self, tokens, keep=None):
        return super().encode_tokens(tokens, None if keep is None else keep.sort(1).values)


@caught_by("sees no later token if causal")
class LooksAhead(Attends):
    is_causal = True


@caught_by("sees no later token if causal")
class LooksOneAhead(AttendsBackwards):
    def scores(self, x, tokens):
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(2)
        return Attends.scores(self, x, tokens).masked_fill(later, -1e4)


@caught_by("sees no later token if causal")
class TokenizesAhead(AttendsBackwards):
    def tokenize(self, batch):
        tokens = super().tokenize(batch)
        following = nn.functional.pad(tokens.x[:, 1:] * batch.mask[:, 1:, None], (0, 0, 0, 1))
        return replace(tokens, x=tokens.x + following)


@caught_by("has token targets within target dim")
class TargetsBeyond(Attends):
    def __init__(self, modality):
        super().__init__(modality)
        self.target_dim = modality.size - 1


@caught_by("has token targets within target dim")
class TargetsNotFinite(Attends):
    def token_targets(self, batch):
        self.target_dim = 1
        return batch.ids[..., None].float().log()


@caught_by("aligns token targets with tokens")
class TargetsReversed(Attends):
    def token_targets(self, batch):
        return batch.ids.flip(1)


@caught_by("aligns token targets with tokens")
class TargetsShifted(Attends):
    def token_targets(self, batch):
        self.target_dim = 1
        return batch.ids.roll(1, 1)[..., None].float()


@caught_by("keeps the order of rows")
class TargetsOfOtherRecords(Attends):
    def token_targets(self, batch):
        return batch.ids.roll(1, 0)


@caught_by("keeps the order of rows")
class ReversesRecords(Attends):
    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens, keep)
        return replace(made, pooled=made.pooled.flip(0))


@caught_by("trains every parameter on kept tokens")
class HeadOfAllTokens(Attends):
    def __init__(self, modality):
        super().__init__(modality)
        self.head = nn.Linear(8, 8)

    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens, keep)
        return replace(made, pooled=self.head(made.pooled)) if keep is None else made


@caught_by("encodes each record independently")
class CentersOverTheBatch(Attends):
    def pool(self, x, tokens):
        pooled = super().pool(x, tokens)
        return pooled - pooled.mean(0)


class Stacked(Attends):
    """Two blocks behind a class token, a mask of valid tokens, and a norm."""

    def __init__(self, modality):
        super().__init__(modality)
        self.cls = nn.Parameter(torch.ones(1, 1, 8))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(2))
        self.norm = nn.LayerNorm(8)

    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens, keep)
        x = torch.cat([self.cls.expand(len(made.tokens), -1, -1).to(made.tokens.dtype), made.tokens], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)[:, 1:]
        return Features(self.pool(x, made), x, made.mask)

    def layer_stack(self):
        return LayerStack(self.blocks, [self.norm], self.norm, prefix=1)


@caught_by("runs its layers once in their order")
class TellsLayersBackwards(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), blocks=self.blocks[::-1])


@caught_by("tells disjoint modules as layers")
class TellsALayerTwice(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), blocks=[*self.blocks, self.blocks[1][0]])


@caught_by("tells disjoint modules as layers")
class TellsTheLastLayerBehind(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), behind=[self.norm, self.blocks[1]])


@caught_by("tells disjoint modules as layers")
class TellsCopiesOfLayers(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), blocks=deepcopy(self.blocks))


@caught_by("runs its layers once in their order")
class TellsTheEmbeddingBehind(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), behind=[self.norm, self.embed])


@caught_by("runs its layers once in their order")
class RunsALayerTwice(Stacked):
    def encode_tokens(self, tokens, keep=None):
        made = super().encode_tokens(tokens, keep)
        return replace(made, pooled=made.pooled + self.blocks[1](made.pooled))


@caught_by("returns tokens from its layers")
class ForgetsThePrefix(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), prefix=0)


@caught_by("returns tokens from its layers")
class TellsFewerLayers(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), blocks=self.blocks[:1])


@caught_by("ignores padding in its layers")
class ForgetsPaddingInLayers(Stacked):
    def layer_stack(self):
        return replace(super().layer_stack(), prefix=0, tokens_of=lambda made, features: (made[:, 1:], None))
