"""Sums of objectives on toy encoders: their parts alone, and how often encoders run."""

import copy

import torch
from torch import nn

from sensorium import Learner, Sum, Term, build
from sensorium.models.learner import _Encode
from sensorium.seeding import seed_globals
from sensorium.testing.synthetic import ToyBatch, ToyEncoder, toy_records, toy_views
from sensorium.types import Features

ROWS = 8


class NormedEncoder(ToyEncoder):
    """The toy with a batch norm of pooled features."""

    def __init__(self, dim=16, channels=4):
        super().__init__(dim, channels)
        self.norm = nn.BatchNorm1d(dim)

    def encode_tokens(self, tokens, keep=None):
        features = super().encode_tokens(tokens, keep)
        return Features(self.norm(features.pooled), features.tokens)


def part(name, **options):
    """An objective with narrow heads."""
    narrow = {
        "clip": {"dim": 8},
        "mae": {"width": 8, "depth": 1, "heads": 2},
        "simclr": {"width": 16, "dim": 8},
        "byol": {"width": 16, "dim": 8},
        "moco": {"width": 16, "dim": 8, "queue": 32},
        "dino": {"prototypes": 16, "width": 16, "bottleneck": 8},
        "ibot": {"prototypes": 16, "width": 16, "bottleneck": 8},
        "vicreg": {"width": 16, "dim": 8},
    }
    return build("objective", name, **{**narrow.get(name, {}), **options})


def learner_of(terms, encoder=ToyEncoder, names=("a", "b")):
    seed_globals("sums")
    learner = Learner({name: encoder() for name in names}, Sum(terms), views=4).double().train()
    for objective in learner.objective.parts.values():  # so that each draws as it does alone
        objective.register_forward_pre_hook(lambda *_: seed_globals("term"))
    return learner


def views_of(a=4, b=1, rows=ROWS, seed=0):
    """Views of two modalities, in double precision."""
    rng = torch.Generator().manual_seed(seed)
    x = toy_records(rows, rng)
    made = {"a": toy_views(x, a, rng, "a"), "b": toy_views(x, b, rng, "b")}
    for view in (view for of_one in made.values() for view in of_one):
        view.batch = ToyBatch(view.batch.x.double())
    return {name: of_one for name, of_one in made.items() if of_one}


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def of_parts(learner, views):
    """The weighted sum of the gradients, and of the losses, of the terms of a sum, each computed alone."""
    total, found = 0.0, {}
    for term in learner.objective._terms:
        alone = copy.deepcopy(learner)
        objective = alone.objective.parts[term.name]
        own = alone.objective._views_of(term, views)
        loss = objective(own, _Encode(alone.encoders, alone.sharing)).loss
        loss.backward()
        total += term.weight * float(loss.detach())
        for name, gradient in gradients(alone).items():
            found[name] = found.get(name, 0) + term.weight * gradient
    return total, found


def count_rows(learner):
    """Count, from now on, the rows that each encoder of a learner, and each copy of one, encodes."""
    counts = {}

    def counting(name, module):
        inner = module.encode_tokens

        def encode_tokens(tokens, keep=None):
            counts[name] = counts.get(name, 0) + len(tokens.x)
            return inner(tokens, keep)

        module.encode_tokens = encode_tokens

    for name, module in learner.named_modules():
        if isinstance(module, ToyEncoder):
            counting(name, module)
    return counts


__all__ = ["ROWS", "NormedEncoder", "Term", "count_rows", "gradients", "learner_of", "of_parts", "part", "views_of"]
