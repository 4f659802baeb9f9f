"""Records the first losses of every objective on every modality anew: `make golden`.

Whoever runs it after a change says in the change why losses are others now.
"""

from __future__ import annotations

import json

import torch

from tests.golden.pairs import Unserved, file_of, losses_of, pairs


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[float]]] = {}
    for objective, names in pairs():
        try:
            found.setdefault(objective, {})["+".join(names)] = losses_of(objective, names)
        except Unserved as reason:
            print(f"{objective} on {'+'.join(names)}: {reason}")
    for objective, losses in found.items():
        lines = ",\n".join(f"  {json.dumps(names)}: {json.dumps(values)}" for names, values in losses.items())
        file_of(objective).write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
