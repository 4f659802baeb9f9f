"""Which modalities are aligned with which: a graph, given in a word or pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

from torch import Tensor

from sensorium import Encoder
from sensorium.errors import RecipeError


def edges_of(asked: str | Sequence[Sequence[str]], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the edges among modalities.

    Args:
        asked: "all" pairs; "star", the first modality with each other; "chain", each with the next; or a list of pairs.
        names: the modalities, in the order of the recipe.

    Raises:
        RecipeError: for a word, a modality or a pair that cannot be meant, and for a modality that has no edge.
    """
    if asked == "all":
        return list(combinations(names, 2))
    if asked == "star":
        return [(names[0], other) for other in names[1:]]
    if asked == "chain":
        return list(pairwise(names))
    if isinstance(asked, str):
        raise RecipeError(f"The option edges = {asked!r} of 'align' must be all, star, chain or a list of pairs.")
    edges: list[tuple[str, str]] = []
    for pair in asked:
        if len(set(pair)) != 2 or len(pair) != 2 or not set(pair) <= set(names):
            raise RecipeError(f"In edges of 'align', {list(pair)} is no pair of the modalities {', '.join(names)}.")
        if any(set(pair) == set(edge) for edge in edges):
            raise RecipeError(f"In edges of 'align', the pair {' - '.join(pair)} is named twice.")
        edges.append((pair[0], pair[1]))
    if alone := [name for name in names if not any(name in edge for edge in edges)]:
        raise RecipeError(f"In edges of 'align', no pair has {', '.join(alone)}: add one, or leave the modality out.")
    return edges


def weights_of(asked: Sequence[float] | None, edges: Sequence[tuple[str, str]]) -> list[float]:
    """Return the weight of each edge.

    Raises:
        RecipeError: when there are not as many as edges, or one is not above zero.
    """
    weights = [1.0] * len(edges) if asked is None else list(asked)
    if len(weights) != len(edges) or min(weights) <= 0:
        named = ", ".join(map("-".join, edges))
        raise RecipeError(f"The option weights of 'align' must be {len(edges)} numbers above 0, in order of {named}.")
    return weights


def by_edge(edges: Sequence[tuple[str, str]], **metrics_E: Tensor) -> dict[str, Tensor]:
    """Return figures of all edges as scalars to log, named "figure/one-other"."""
    named = ["-".join(edge) for edge in edges]
    return {f"{name}/{edge}": v for name, x_E in metrics_E.items() for edge, v in zip(named, x_E.detach(), strict=True)}


def anchored(name: str, encoders: Mapping[str, Encoder]) -> int:
    """Freeze the encoder of the anchor, and return its width.

    Raises:
        RecipeError: when there is no such modality.
    """
    if name not in encoders:
        raise RecipeError(f"The anchor '{name}' of 'align' is none of the modalities {', '.join(encoders)}.")
    encoders[name].requires_grad_(False)
    return encoders[name].dim
