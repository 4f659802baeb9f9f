"""A run whose texts try to run programs, and a parser of its page."""

import json
from html.parser import HTMLParser

import numpy as np

import sensorium
from sensorium.data.arrays import ArraysSource
from tests import toys

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">"
EVALUATE = {"evaluators": {"retrieval": {"positives": "record"}, "knn": {"label": "class", "modality": "a", "k": 3}}}


def hostile_pairs(count=80):
    """Pairs of vectors, some of which lack the second, with a label that is a program for a careless page."""
    pairs = toys.vectors(count=count, missing=0.2)
    values = {name: [pairs[i].values.get(name) for i in range(count)] for name in ("a", "b")}
    numbers = [pairs.key(i).labels["class"] for i in range(count)]
    return ArraysSource(values, labels={"class": [HOSTILE if n == 1 else f"class {n}" for n in numbers]})


def train(folder, seed=0, **changes):
    """Train for a second, and evaluate; returns what opens the run again."""
    recipe = toys.pair_recipe(seed=seed, evaluate=EVALUATE, name="pairs & more") | changes
    return sensorium.fit(recipe, source=hostile_pairs(), run_dir=folder, extensions=toys.extensions()).run


def report(run, *arguments, **options):
    """Return the page of a run as text."""
    options = {"source": hostile_pairs(), "extensions": toys.extensions(), "records": 40, "part": "all"} | options
    return sensorium.report(run, *arguments, **options).read_text(encoding="utf-8")


def samples_of(self, example):
    """A sound for every vector."""
    return np.tile(np.asarray(example, np.float32) / 10, 500)[None], 8000


class Page(HTMLParser):
    """What a page has: its elements, and the JSON in it."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.data, self.words, self._kind = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._kind = (tag, dict(attributes).get("type"))

    def handle_endtag(self, tag):
        self._kind = None

    def handle_data(self, data):
        if self._kind == ("script", "application/json"):
            self.data.append(json.loads(data))
        elif self._kind is None or self._kind[0] not in ("script", "style"):
            self.words.append(data.strip())

    def of(self, tag):
        """Return the attributes of the elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def maps(self):
        """Return the points of the maps of embeddings."""
        charts = [
            spec["datasets"].values() if "datasets" in spec else [spec.get("data", {}).get("values", [])]
            for spec in self.data
        ]
        every = [values for datasets in charts for values in datasets]
        return [values for values in every if values and "x" in values[0]]
