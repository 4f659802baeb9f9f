"""The page of synchronizations: how often the host waits for the device in a step of every pair."""

from __future__ import annotations

from docs.generate.markdown import table
from tests.emulation.show import emulated
from tests.emulation.test_laws import EXCEPTIONS, LIMIT, LIMIT_OF_GRAPHS
from tests.golden.pairs import Unserved, pairs

BEFORE = {
    ("simclr", ("image",)): 44,
    ("dino", ("image",)): 216,
    ("mae", ("image",)): 15,
    ("byol", ("audio",)): 13,
    ("wav2vec2", ("audio",)): 11,
    ("masked-token", ("text",)): 4,
    ("ibot", ("text",)): 18,
    ("ts2vec", ("timeseries",)): 7,
    ("supervised-contrastive", ("timeseries",)): 10,
    ("clip", ("audio", "text")): 20,
    ("align", ("audio", "image")): 30,
    ("infograph", ("graph",)): 21,
    ("graphmae", ("molecule",)): 25,
    ("simclr", ("graph",)): 710,
}
"""The same count before the law, measured on the code of its day."""


def synchronizations_page() -> str:
    """Return the page; it takes two steps of every pair on the emulated device."""
    counts = {}
    for objective, names in pairs():
        try:
            counts[objective, names] = len(emulated(objective, names).synchronizations[-1])
        except Unserved:
            continue
    columns = sorted({"+".join(names) for _, names in counts}, key=lambda name: ("+" in name, name))
    by_column = {(objective, "+".join(names)): count for (objective, names), count in counts.items()}
    singles = [name for name in columns if "+" not in name]
    parts = [HEAD.format(limit=LIMIT, limit_of_graphs=LIMIT_OF_GRAPHS, pairs=len(counts), exceptions=_exceptions())]
    for names in (singles, [name for name in columns if "+" in name]):
        rows = [
            [objective, *(str(by_column.get((objective, name), "-")) for name in names)]
            for objective in sorted({o for o, name in by_column if name in names})
        ]
        parts.append(table(("objective", *names), rows, tuple(range(1, len(names) + 1))))
    parts.append("## Before and after\n\nThe same count on the code before the law.\n")
    rows = [[o, "+".join(names), str(n), str(counts[o, names])] for (o, names), n in BEFORE.items()]
    parts.append(table(("objective", "modalities", "before", "after"), rows, (2, 3)))
    return "\n".join(parts)


def _exceptions() -> str:
    if not EXCEPTIONS:
        return "There are no exceptions."
    found = [f"- {o}, {'+'.join(names)}: {n}, because {why}" for (o, names), (n, why) in EXCEPTIONS.items()]
    return "Exceptions:\n\n" + "\n".join(found)


HEAD = """# Synchronizations

A training runs ahead of its GPU as long as the host only enqueues work. It waits where it reads a value (`item`, `if`,
a shape that depends on data) or copies between host and device in a way that blocks. The law of the tests: an optimizer
step waits at most {limit} times, on graphs and molecules {limit_of_graphs} times. {exceptions}

The table counts the second step of {pairs} pairs, from pinned records to `after_step`: views, forward, backward,
clipping, the guard against non-finite steps, the optimizer. One wait is the guard's. Counted on an emulated device
([decision](../decisions/0009-emulated-device.md)), on small parts, by `python -m docs.generate --synchronizations`;
`python -m tests.emulation.show simclr image` shows the lines that wait.
"""
