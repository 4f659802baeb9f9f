"""A report as text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from sensorium.checking.duplicates import Duplicates
from sensorium.checking.facts import Flags, Numbers, Summary, Words
from sensorium.checking.labels import LabelCounts
from sensorium.checking.modality_report import ModalityReport
from sensorium.data.unreadable import UnreadableRecords, percent

WIDTH = 80
TITLE, FACT = 12, 28
"""Columns at which texts start: behind a title, as in the first lines of a training, and behind the name of a fact."""
SHOWN, PAIRS = 12, 3
"""Classes, words and unreadable values that are shown, and duplicates across parts; a file has all."""
BARS = " ▁▂▃▄▅▆▇█"


def row(title: str, text: str, indent: int = TITLE) -> Iterator[str]:
    """Yield a title and the text behind it, broken between words."""
    padded = f"{title:{indent - 1}} {text}"
    yield from textwrap.wrap(
        padded, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def grid(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines of columns: the first is aligned to the left, the others to the right, a histogram to the left."""
    lines = [heading, *rows]
    widths = [max(max(len(line[i]) for line in lines), 9 if i else FACT - 4) for i in range(len(heading))]
    for line in lines:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
        yield f"  {'  '.join(cells)}".rstrip()


def modality_lines(name: str, found: ModalityReport, id_of: Callable[[int], str]) -> Iterator[str]:
    """Yield what was found in one modality; `id_of` gives the id of the record at a position."""
    kind = [f"({found.modality})"] * (found.modality != name) + [f"of field '{found.field}'"] * (found.field != name)
    yield " ".join([name, *kind])
    counts = {"values": found.values, "unreadable": found.unreadable, "missing": found.missing}
    total = sum(sum(of_parts.values()) for of_parts in counts.values())
    rows = [
        [word, *(f"{n:,}" for n in of_parts.values()), fraction(sum(of_parts.values()), total)]
        for word, of_parts in counts.items()
        if word == "values" or any(of_parts.values())
    ]
    yield from grid(["", *found.values, "all"], rows)
    numeric = {fact: s for fact, s in found.facts.items() if isinstance(s, Numbers) and not s.counts}
    if numeric:
        yield from grid(["", "least", "median", "most", ""], [[fact, *_cells(s)] for fact, s in numeric.items()])
    for fact, summary in found.facts.items():
        if fact not in numeric:
            yield from row(f"  {fact}", _in_words(summary), FACT)
    yield from row("  duplicates", _about(found.duplicates), FACT)
    pairs = found.duplicates.pairs
    for outside, train in pairs[:PAIRS]:
        yield from row("", f"{short(id_of(outside))} = {short(id_of(train))} of train", FACT)
    if len(pairs) > PAIRS:
        yield from row("", f"and {len(pairs) - PAIRS:,} more: --out FILE.json lists all", FACT)


def label_lines(name: str, counts: LabelCounts) -> Iterator[str]:
    """Yield how many records of each part have each value of a label."""
    parts, rows = list(counts.missing), []
    yield f"label {name}: {len(counts.classes):,} {'value' if len(counts.classes) == 1 else 'values'}"
    if len(counts.classes) > 2 * SHOWN:
        totals = [sum(of_parts.values()) for of_parts in counts.classes.values()]
        fewest, most = min(totals), max(totals)
        each = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
        yield from row("  records", f"{each} of each value", FACT)
        lacking = {part: sum(not of_parts[part] for of_parts in counts.classes.values()) for part in parts}
        if any(lacking.values()):
            told = ", ".join(f"{n:,} of {part}" for part, n in lacking.items() if n)
            yield from row("  absent values", told, FACT)
    else:
        rows = [[short(str(v)), *(f"{n:,}" for n in of_parts.values())] for v, of_parts in counts.classes.items()]
    if any(counts.missing.values()):
        rows.append(["(missing)", *(f"{n:,}" for n in counts.missing.values())])
    if rows:
        yield from grid(["", *parts], rows)


def unreadable_lines(bad: UnreadableRecords) -> Iterator[str]:
    """Yield the first unreadable values."""
    values = list(bad.values.values())
    for value in values[:SHOWN]:
        yield from row(f"  {value.kind}", value.sentence, TITLE + 4)
    if len(values) > SHOWN:
        yield from row("", f"and {len(values) - SHOWN:,} more: --out FILE.csv lists all", TITLE + 4)


def _about(twice: Duplicates) -> str:
    within = f"; {twice.within:,} records repeat a value of another record of their group" if twice.within else ""
    if not twice.contents:
        return f"none across groups{within}" if within else "none"
    stand = "value stands" if twice.contents == 1 else "values stand"
    across = (
        f"{twice.across:,} records of val or test have one that train has too" if twice.across else "none across parts"
    )
    return f"{twice.contents:,} {stand} in {twice.records:,} records; {across}{within}"


def _cells(numbers: Numbers) -> list[str]:
    """Return three numbers and a histogram."""
    most = max(numbers.histogram)
    bars = "".join(BARS[-(-count * (len(BARS) - 1) // most)] for count in numbers.histogram)
    return [*map(_number, (numbers.least, numbers.median, numbers.most)), bars]


def _in_words(summary: Summary) -> str:
    if isinstance(summary, Flags):
        told = fraction(summary.true, summary.count)
        return f"all {told}" if summary.true == summary.count else told if summary.true else "none"
    counts = summary.counts if isinstance(summary, Words) else {_number(n): c for n, c in summary.counts.items()}
    if len(counts) == 1:
        return f"{next(iter(counts))} in all"
    told = ", ".join(f"{word}: {count:,}" for word, count in list(counts.items())[:SHOWN])
    return told + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")


def fraction(some: int, count: int) -> str:
    """Return a count, with its fraction of a total if it is neither none nor all."""
    return f"{some:,}" if some in (0, count) else f"{some:,} ({percent(some / count)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def short(text: str, most: int = 40) -> str:
    """Return a text, the middle of a longer one left out."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"
