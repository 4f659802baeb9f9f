"""Records on a page: a map of their embeddings, their nearest neighbors, and retrieval between modalities."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

import numpy as np

from sensorium.embeddings.projection import project
from sensorium.errors import RunError, not_found
from sensorium.evaluation.previews import Previews
from sensorium.evaluation.run_evaluation import RunEvaluation
from sensorium.evaluation.shown import Shown
from sensorium.models.model import Model
from sensorium.neighbors.similarity import nearest_neighbors
from sensorium.reports.charts import Spec, embedding_map, shown_labels
from sensorium.reports.options import MapOptions
from sensorium.seeding import uniform_of

QUERIES, FOUND = 6, 5
"""Rows of a gallery, and records that are found in each."""
GALLERIES = 12
"""Galleries of a page; of many modalities there are more, which are left out."""
THUMBNAIL, IMAGE = 96, 192
"""Pixels a side: of the images of a map, and of a gallery."""
SOUNDS = 8_000_000
"""Characters of all sounds of a page."""
WORDS = 200
"""Characters of a record's words on a map."""


@dataclass(frozen=True)
class Card:
    """One value in a gallery.

    Args:
        title: the record's id.
        words: the value in words, where they say more than the id, the end of a file's path.
        image: a data URI, or None.
        sound: the key of its sound among those of the page, or None.
        about: its label, or the cosine.
        is_positive: whether it is what should be found.
    """

    title: str
    words: str
    image: str | None
    sound: str | None
    about: str = ""
    is_positive: bool = False


@dataclass(frozen=True)
class Gallery:
    """Queries, each with what was found, nearest first."""

    title: str
    caption: str
    rows: list[tuple[Card, list[Card]]]


@dataclass
class ShownRecords:
    """What a page shows of records.

    Args:
        caption: which records these are.
        maps: title, chart and caption of each map.
        neighbors: one gallery for each modality.
        retrieval: one for each direction between two modalities.
        sounds: key -> data URI.
        silent: how many sounds were left out, so that the page stays small.
        left_out: how many galleries were.
    """

    caption: str
    maps: list[tuple[str, Spec, str]] = field(default_factory=list)
    neighbors: list[Gallery] = field(default_factory=list)
    retrieval: list[Gallery] = field(default_factory=list)
    sounds: dict[str, str] = field(default_factory=dict)
    silent: int = 0
    left_out: int = 0


class RecordPages:
    """Makes what a page shows of a run's records.

    Args:
        model: the model that embeds them.
        evaluation: the records.
        options: how they are chosen and drawn.

    Raises:
        RunError: for a label that the records do not have.
    """

    def __init__(self, model: Model, evaluation: RunEvaluation, options: MapOptions) -> None:
        self.options, self.previews = options, Previews(evaluation.plan, evaluation.source)
        reader = evaluation.reader
        part = options.part if len(reader.positions(options.part)) else "all"
        chosen = reader.sample(part, options.records)
        self.table = evaluation.table(model, chosen, "embedding")
        every = len(reader.positions(part))
        of = f"{len(self.table):,} of {every:,} records" if len(self.table) < every else f"{every:,} records"
        self.shown = ShownRecords(f"{of} of the part '{part}'" if part != "all" else of)
        self.label = self._label()
        self._labels = shown_labels([self._label_of(row) for row in range(len(self.table))])
        self._cards: dict[tuple[int, str], Card] = {}

    def __call__(self) -> ShownRecords:
        """Return maps and galleries."""
        names = [name for name in self.table.features if self.table.present[name].sum() >= 2]
        for name in names:
            self.shown.maps.append(self._map(name))
        for name in names:
            self._add(self.shown.neighbors, self._neighbors(name))
        for query, target in permutations(names, 2):
            if self.table.features[query].shape[1] == self.table.features[target].shape[1]:
                self._add(self.shown.retrieval, self._retrieval(query, target))
        return self.shown

    def _add(self, galleries: list[Gallery], gallery: Gallery) -> None:
        if len(self.shown.neighbors) + len(self.shown.retrieval) >= GALLERIES:
            self.shown.left_out += 1
        elif gallery.rows:
            galleries.append(gallery)

    def _label(self) -> str | None:
        known = list(self.table.labels)
        asked = self.options.label
        if asked is not None and asked not in known:
            raise RunError(
                not_found(
                    f"The records have no label '{asked}'", asked, known, f"they have: {', '.join(known) or 'none'}"
                )
            )
        return asked or (known[0] if known else None)

    def _label_of(self, row: int) -> Any:
        value = self.table.labels[self.label][row] if self.label is not None else None
        value = value.item() if isinstance(value, np.generic) else value
        return None if value is None or value != value else value

    def _map(self, name: str) -> tuple[str, Spec, str]:
        rows = np.flatnonzero(self.table.present[name]).tolist()
        xy_N2, said = project(self.table.features[name][rows], self.options.projection)
        labels = None if self._labels is None else [self._labels[row] for row in rows]
        points = []
        for number, row in enumerate(rows):
            shown = self._value(row, name)
            point = {"x": round(float(xy_N2[number, 0]), 4), "y": round(float(xy_N2[number, 1]), 4)}
            about = {"id": self.table.ids[row], "words": _cut(shown.words)}
            about |= {"label": labels[number]} if labels is not None else {}
            about |= {"image": shown.image_uri(THUMBNAIL)} if shown.image is not None else {}
            points.append(point | about)
        if labels is not None and None in labels:
            said = f"{said} Gray: {labels.count(None):,} without a number."
        classes = list(dict.fromkeys(label for label in self._labels or () if isinstance(label, str)))
        return name, embedding_map(points, None if labels is None else self.label, classes), said

    def _neighbors(self, name: str) -> Gallery:
        rows = np.flatnonzero(self.table.present[name])
        x_ND = self.table.features[name][rows]
        queries = self._first(np.arange(len(rows)), rows)
        scores_QK, found_QK = nearest_neighbors(x_ND[queries], x_ND, FOUND + 1)
        made = []
        for query, scores, found in zip(queries, scores_QK.tolist(), found_QK.tolist(), strict=True):
            others = [pair for pair in zip(found, scores, strict=True) if pair[0] != query][:FOUND]
            label = self._label_of(rows[query])
            cards = [
                self._card(rows[at], name, f"{score:.3f}", label is not None and self._label_of(rows[at]) == label)
                for at, score in others
            ]
            made.append((self._card(rows[query], name), cards))
        same = f" Framed: of the same {self.label}." if self.label is not None else ""
        return Gallery(
            name, f"Nearest by cosine among {len(rows):,} records; the record itself is left out.{same}", made
        )

    def _retrieval(self, query: str, target: str) -> Gallery:
        present = self.table.present
        targets = np.flatnonzero(present[target])
        both = np.flatnonzero(present[query] & present[target])
        queries = both[self._first(np.arange(len(both)), both)]
        if not len(queries):
            return Gallery("", "", [])
        found = nearest_neighbors(self.table.features[query][queries], self.table.features[target][targets], FOUND)
        made = []
        for row, scores, columns in zip(queries.tolist(), *(one.tolist() for one in found), strict=True):
            hits = [(targets[column], score) for column, score in zip(columns, scores, strict=True)]
            own = _told(self.previews.words(self._position(row), target), self.table.ids[row])
            cards = [self._card(at, target, f"{score:.3f}", at == row) for at, score in hits]
            same = [card.is_positive or (card.words != "" and card.words == own) for card in cards]
            cards = [replace(card, is_positive=positive) for card, positive in zip(cards, same, strict=True)]
            made.append((self._card(row, query), cards))
        caption = (
            f"{target} found by {query} among {len(targets):,} records. Framed: the same record, or the same words."
        )
        return Gallery(f"{query} → {target}", caption, made)

    def _first(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return the queries among rows: those whose ids come first by a hash."""
        order = sorted(numbers.tolist(), key=lambda at: uniform_of("sheet", self.table.ids[rows[at]]))
        return np.array(order[:QUERIES], np.int64)

    def _value(self, row: int, name: str) -> Shown:
        return self.previews.shown(self._position(row), name)

    def _position(self, row: int) -> int:
        assert self.table.positions is not None, "batches of a source have positions"
        return int(self.table.positions[row])

    def _card(self, row: int, name: str, about: str = "", is_positive: bool = False) -> Card:
        """Return the card of a record's value, drawn once."""
        key = int(row), name
        if key not in self._cards:
            shown, id = self._value(*key), self.table.ids[row]
            sound = self._sound(f"{name}/{id}", shown)
            self._cards[key] = Card(id, _told(shown.words, id), shown.image_uri(IMAGE), sound)
        label = self._label_of(row)
        said = [about] * bool(about) + [f"{self.label}: {label}"] * (label is not None)
        return replace(self._cards[key], about=" · ".join(said), is_positive=is_positive)

    def _sound(self, key: str, shown: Shown) -> str | None:
        if (uri := shown.sound_uri()) is None:
            return None
        if sum(map(len, self.shown.sounds.values())) + len(uri) > SOUNDS:
            self.shown.silent += 1
            return None
        self.shown.sounds[key] = uri
        return key


def _told(words: str, id: str) -> str:
    """Return the words of a record's value, cut; nothing where they are its id, or a path that ends in it."""
    return "" if words.endswith(id) else _cut(words)


def _cut(words: str) -> str:
    return words if len(words) <= WORDS else f"{words[: WORDS - 1]}…"
