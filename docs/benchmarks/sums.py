"""Passes and memory of several objectives in one step, beside each alone.

    python docs/benchmarks/sums.py

Of each recipe one step of its data: how many images the image tower encodes, students and teachers, and the bytes that
the graph keeps for the backward pass, each tensor once. The terms alone have the same weights and views.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sensorium.blocks.sum import Sum
from sensorium.contracts import Encoder
from sensorium.data.unreadable import UnreadableRecords
from sensorium.models.learner import Learner, make_views
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions
from sensorium.seeding import generator, seed_globals
from sensorium.training.feed import feed
from sensorium.types import View

SUMS = {
    "clip-mae": ("clip-mae", ()),
    "slip": ("slip", ()),
    "siglip2, all terms": ("siglip2", ("objective.1.start=0",)),
    "dino-data2vec": ("dino-data2vec", ()),
    "simclr + byol + vicreg": (
        "mae",
        (
            "modalities.image.views={name: simclr, scale: [0.4, 1.0], strength: 0.3, gray: 0.0}",
            "objective=[{name: simclr, width: 256}, {name: byol, width: 256}, {name: vicreg, width: 256, dim: 256}]",
        ),
    ),
}


def learner_and_views(name: str, changes: tuple[str, ...]) -> tuple[Learner, dict[str, list[View]]]:
    """Return the learner of a recipe with its first weights, and the views of its first batch."""
    extensions = load_extensions()
    recipe = read_recipe(name, extensions.registry, ["data.batch=64", "data.workers=0", *changes])
    plan = make_plan(recipe, extensions)
    source = plan.open_source()
    positions = torch.arange(min(len(source), 256)).numpy()
    loader = feed(
        plan, source, positions, bad=UnreadableRecords(len(source), 1.0), workers=0, device="cpu", cache="off"
    )
    for tower, modality in plan.modalities.items():
        if not modality.is_fitted:
            modality.fit(source[int(position)].values[plan.fields[tower]] for position in positions)
    learner = plan.learner().train()
    (records,) = next(iter(loader.batches(0, 1)))
    return learner, make_views(records, plan.generators, generator(0, "views"))


@contextmanager
def counted(learner: Learner) -> Iterator[dict[str, int]]:
    """Count the images that encoders encode, and the bytes that the graph keeps, weights left out."""
    counts, kept = {"images": 0, "bytes": 0}, set[int]()
    weights = {p.untyped_storage().data_ptr() for p in learner.parameters()}
    hooks = []
    for name, module in learner.named_modules():
        if isinstance(module, Encoder) and "text" not in name:
            inner = module.encode_tokens  # type: ignore[operator]

            def encode_tokens(tokens, keep=None, inner=inner):
                counts["images"] += len(tokens.x)
                return inner(tokens, keep)

            module.encode_tokens = encode_tokens  # type: ignore[assignment]
            hooks.append((module, inner))

    def keep(x: torch.Tensor) -> torch.Tensor:
        place = x.untyped_storage().data_ptr()
        if place not in kept and place not in weights:
            kept.add(place)
            alive.append(x)
            counts["bytes"] += x.untyped_storage().nbytes()
        return x

    alive: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield counts
    for module, inner in hooks:
        module.encode_tokens = inner  # type: ignore[assignment]


def measured(learner: Learner, views: dict[str, list[View]]) -> dict[str, int]:
    """Return what one step of a learner encodes and keeps."""
    seed_globals("sums")
    with counted(learner) as counts:
        learner(views).loss.backward()
    return counts


def alone(learner: Learner, name: str) -> Learner:
    """Return a learner of whose sum one of the terms alone has started."""
    one = copy.deepcopy(learner)
    assert isinstance(one.objective, Sum)
    one.objective._has_started = [term == name for term in one.objective.parts]
    return one


def main() -> None:
    """Print one line for each sum."""
    print("| sum | images encoded | by its terms alone | MB kept | by its terms alone | by the largest |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for title, (name, changes) in SUMS.items():
        learner, views = learner_and_views(name, changes)
        assert isinstance(learner.objective, Sum)
        terms = [measured(alone(learner, term), views) for term in learner.objective.parts]
        together = measured(learner, views)
        images, kept = sum(t["images"] for t in terms), [t["bytes"] / 1e6 for t in terms]
        print(
            f"| {title} | {together['images']} | {images} | {together['bytes'] / 1e6:.0f} | {sum(kept):.0f} | "
            f"{max(kept):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
