"""How the terms of a sum of objectives are called in logs, weights and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def term_names(kinds: Sequence[str], modalities: Sequence[Sequence[str] | None]) -> list[str]:
    """Return the names of terms: what each is called, with its modalities where two are called alike, or a number.

    Args:
        kinds: what they are called.
        modalities: that each names; None where it names none.
    """
    alike = Counter(kinds)
    named = [
        "-".join([kind, *(on or ())]) if alike[kind] > 1 else kind for kind, on in zip(kinds, modalities, strict=True)
    ]
    seen, names = Counter[str](), []
    for name in named:
        seen[name] += 1
        names.append(f"{name}-{seen[name]}" if seen[name] > 1 else name)
    return names
