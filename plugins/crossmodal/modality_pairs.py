"""Which modalities are contrasted with which: pairs, given in a word or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

from torch import Tensor

from sensorium import Encoder
from sensorium.errors import RecipeError


def resolve_pairs(pairs: str | Sequence[Sequence[str]], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of modalities.

    Args:
        pairs: "all"; "star", the first modality with each other; "chain", each with the next; or a list of pairs.
        names: the modalities, in the order of the recipe.

    Raises:
        RecipeError: for an unknown word, modality or pair, and for a modality that is in no pair.
    """
    if pairs == "all":
        return list(combinations(names, 2))
    if pairs == "star":
        return [(names[0], other) for other in names[1:]]
    if pairs == "chain":
        return list(pairwise(names))
    if isinstance(pairs, str):
        raise RecipeError(f"The option 'pairs' of 'align' must be all, star, chain or a list of pairs, not {pairs!r}.")
    found: list[tuple[str, str]] = []
    for pair in pairs:
        if len(set(pair)) != 2 or len(pair) != 2 or not set(pair) <= set(names):
            raise RecipeError(f"In pairs of 'align', {list(pair)} is no pair of the modalities {', '.join(names)}.")
        if any(set(pair) == set(other) for other in found):
            raise RecipeError(f"In pairs of 'align', {' - '.join(pair)} is named twice.")
        found.append((pair[0], pair[1]))
    if missing := [name for name in names if not any(name in pair for pair in found)]:
        raise RecipeError(f"No pair of 'align' has {', '.join(missing)}: add one, or leave the modality out.")
    return found


def resolve_weights(weights: Sequence[float] | None, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Return the weight of each pair.

    Raises:
        RecipeError: when there are not as many as pairs, or one is not above zero.
    """
    found = [1.0] * len(pairs) if weights is None else list(weights)
    if len(found) != len(pairs) or min(found) <= 0:
        named = ", ".join(map("-".join, pairs))
        raise RecipeError(f"The option 'weights' of 'align' must be {len(pairs)} numbers above 0, in order of {named}.")
    return found


def logs_by_pair(pairs: Sequence[tuple[str, str]], /, **metrics_E: Tensor) -> dict[str, Tensor]:
    """Return metrics (E,) of all pairs as scalars to log, named "metric/one-other"."""
    named = ["-".join(pair) for pair in pairs]
    return {f"{name}/{pair}": v for name, x_E in metrics_E.items() for pair, v in zip(named, x_E.detach(), strict=True)}


def freeze_anchor(name: str, encoders: Mapping[str, Encoder]) -> int:
    """Freeze the encoder of the anchor, and return its width.

    Raises:
        RecipeError: when there is no such modality.
    """
    if name not in encoders:
        raise RecipeError(f"The anchor '{name}' of 'align' is none of the modalities {', '.join(encoders)}.")
    encoders[name].requires_grad_(False)
    return encoders[name].dim
