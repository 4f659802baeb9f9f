"""How text becomes ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar


class Tokenizer(ABC):
    """Text to ids and back, for the text modality, its views and its encoders.

    An id is a piece of text or a special token; no text, whatever it spells, is encoded to a special id. Id 0 pads
    batches, so a tokenizer that learns its ids here leaves it to padding.
    """

    start: tuple[int, ...] = ()
    """Ids put before every text."""
    end: tuple[int, ...] = ()
    """Ids put after every text."""
    mask: int | None = None
    """Id of the mask token; None where there is none, so that no token can be masked."""
    padding: int = 0
    """Id by which the tokenizer pads for models that attend to padding; batches are padded with 0, whatever it is."""
    special: tuple[int, ...] = ()
    """Ids of all special tokens: those above, padding and what else stands for no text."""
    keeps_whitespace: ClassVar[bool] = False
    """Whether a text of whitespace alone is valid: for a character model it is."""
    is_fitted: bool = True
    """Whether it is ready; False asks for `fit`."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Return the vocabulary size: every id is below it."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without `start` and `end`."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, without special tokens."""

    def as_transformers(self, length: int, lower: bool) -> Any:
        """Return it as a tokenizer of Hugging Face transformers, with the same ids; None, the default: it is none.

        Args:
            length: the largest number of tokens of a text, start and end included.
            lower: whether texts are converted to lower case first.
        """
        return None

    def fit(self, texts: Iterable[str]) -> None:
        """Learn the vocabulary from the texts of the train part, deterministically; nothing by default."""

    def state(self) -> dict[str, Any]:
        """Return what `fit` learned, as plain JSON values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
