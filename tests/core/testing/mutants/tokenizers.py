"""Mutants of tokenizers."""

from sensorium import Tokenizer
from tests.core.testing.mutants import caught_by


class Words(Tokenizer):
    """Whole words; id 1 is unknown."""

    special = (0,)

    def __init__(self):
        self.words = []

    @property
    def size(self):
        return len(self.words) + 2

    @property
    def is_fitted(self):
        return bool(self.words)

    def fit(self, texts):
        self.words = self.order({word for text in texts for word in text.split()})

    def order(self, words):
        return sorted(words)

    def encode(self, text):
        return [self.words.index(word) + 2 if word in self.words else 1 for word in text.split()]

    def decode(self, ids):
        return " ".join(self.words[id - 2] if id > 1 else "?" for id in ids)

    def state(self):
        return {"words": self.words}

    def load_state(self, state):
        self.words = list(state["words"])


@caught_by("gives ids below its size")
class CountsOneTooFew(Words):
    @property
    def size(self):
        return len(self.words) + 1


@caught_by("gives ids below its size")
class EncodesPadding(Words):
    def encode(self, text):
        return [id if id > 1 else 0 for id in super().encode(text)]


@caught_by("decodes what it encoded")
class DecodesNeighbors(Words):
    def decode(self, ids):
        return super().decode([max(id - 1, 2) for id in ids])


@caught_by("restores from its state")
class ForgetsItsWords(Words):
    def state(self):
        return {"words": self.words[1:]}


@caught_by("is the same in every process")
class OrderOfASet(Words):
    def order(self, words):
        return list(words)
