"""Records the first losses of every objective on every modality anew: `make golden`.

Whoever runs it after a change says in the change why losses are others now.
"""

from __future__ import annotations

import json

import torch

from tests.golden.pairs import TOLERANCE, Unserved, file_of, losses_of, pairs

NOISES = 3
MARGIN = 0.25
"""The share of the tolerance that a change of the size of rounding may take."""


def steady_steps(losses: list[float], changed: list[list[float]]) -> int:
    """Return how many of the first losses stay where they are under changes of the size of rounding, at least one."""
    close = [
        all(abs(other - loss) <= MARGIN * max(TOLERANCE["abs"], TOLERANCE["rel"] * abs(loss)) for other in others)
        for loss, *others in zip(losses, *changed, strict=True)
    ]
    return max((*close, False).index(False), 1)


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[float]]] = {}
    for objective, names in pairs():
        try:
            losses = losses_of(objective, names)
            changed = [losses_of(objective, names, noise) for noise in range(NOISES)]
        except Unserved as reason:
            print(f"{objective} on {'+'.join(names)}: {reason}")
            continue
        steady = steady_steps(losses, changed)
        if steady < len(losses):
            print(f"{objective} on {'+'.join(names)}: {steady} steps, beyond which rounding decides")
        found.setdefault(objective, {})["+".join(names)] = losses[:steady]
    for objective, losses in found.items():
        lines = ",\n".join(f"  {json.dumps(names)}: {json.dumps(values)}" for names, values in losses.items())
        file_of(objective).write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
