"""The text modality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sensorium import BadSample, Modality, text_image
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.text.batch import TextBatch
from sensorium.modalities.text.tokenizers import make_tokenizer

if TYPE_CHECKING:
    from sensorium import Tokenizer

CHARACTERS_PER_TOKEN = 32
"""Characters that are tokenized for each of `length` tokens; the longest token of a vocabulary is about as long."""

BASELINE = 2048
"""Width of the baseline features."""
DESCRIPTOR_BINS = 128
"""Bins of hashed counts among the descriptors, of tokens and of bigrams each."""


class TextModality(Modality):
    """Text: captions, sentences and longer texts, as token ids.

    A raw value is a string, or bytes in UTF-8. Texts are truncated to `length` tokens, start and end tokens included.

    Args:
        tokenizer: "bpe" (byte-level byte-pair encoding, trained on the train part), "characters" (character-level, for
            language models), "open_clip", "open_clip:ARCH" or "open_clip:local-dir:PATH" (that of an open_clip
            architecture) or "transformers:PATH" (that of a Hugging Face model in a local folder or cache), or another
            that `sensorium list tokenizers` shows, by name or as a mapping of name and options.
        vocab: largest vocabulary of a tokenizer trained here ("bpe", "characters").
        length: context length: the largest number of tokens of a text, start and end included.
        lower: whether text is converted to lower case.
    """

    preview_is_caption, fits = True, 1_000_000

    def __init__(
        self,
        tokenizer: str | dict[str, Any] = "bpe",
        vocab: int = 8192,
        length: int = 64,
        lower: bool = False,
    ) -> None:
        self.tokenizer: Tokenizer = make_tokenizer(tokenizer, vocab)
        self.length, self.lower = length, lower
        self._room = length - len(self.tokenizer.start) - len(self.tokenizer.end)
        if self._room < 1:
            raise RecipeError(f"A text of length {length} has no room for a token: set length to 8 or more.")

    def decode(self, raw: Any) -> Tensor:
        """Tokenize a string, or bytes in UTF-8: int64 (T,), 1 <= T <= `length`.

        Raises:
            BadSample: when the value is not text or not valid UTF-8, is empty, or is blank and the tokenizer drops
                whitespace.
        """
        text = self._text(raw)[: CHARACTERS_PER_TOKEN * self.length]
        ids = self.tokenizer.encode(text)[: self._room]
        if not ids:
            raise BadSample(f"the tokenizer finds no token in {text[:40]!r}", "empty")
        return torch.tensor([*self.tokenizer.start, *ids, *self.tokenizer.end])

    def collate(self, examples: Sequence[Tensor]) -> TextBatch:
        """Pad examples, int64 (T_i,) each, to the longest of them."""
        return TextBatch.join(examples)

    def random_batch(self, count: int, is_long: bool, rng: torch.Generator) -> TextBatch:
        """Return texts of random ids, the first of `length` tokens (at most 64) or of half as many."""
        most = min(self._room, 64)
        room = most if is_long else max(1, most // 2)
        ordinary = torch.tensor(sorted(set(range(self.tokenizer.size)) - {*self.tokenizer.special, 0}))
        texts = []
        for row in range(count):
            length = room if row == 0 else int(torch.randint(1, room + 1, (), generator=rng))
            ids_T = ordinary[torch.randint(len(ordinary), (length,), generator=rng)]
            texts.append(torch.tensor([*self.tokenizer.start, *ids_T.tolist(), *self.tokenizer.end]))
        return self.collate(texts)

    def processor(self) -> Any:
        """Return the tokenizer as one of transformers, which cuts texts at `length`; None where it cannot be one."""
        return self.tokenizer.as_transformers(self.length, self.lower)

    def fit(self, raws: Iterable[Any]) -> None:
        """Train the tokenizer on the texts among the raw values.

        Raises:
            DataError: when there is no text among them.
        """
        reasons: list[str] = []
        texts = self._texts(raws, reasons)
        first = next(texts, None)
        if first is None:
            found = f"; of its {len(reasons):,} values the first is none: {reasons[0]}" if reasons else ""
            raise DataError(
                f"The tokenizer cannot be trained: the train part has no text{found}. Name a column of text by "
                "data.source.columns, or the field that has it by modalities.NAME.field."
            )

        def every() -> Iterator[str]:
            yield first
            yield from texts

        self.tokenizer.fit(every())

    @property
    def is_fitted(self) -> bool:
        """Whether the tokenizer has its vocabulary."""
        return self.tokenizer.is_fitted

    def state(self) -> dict[str, Any]:
        """Return the state of the tokenizer."""
        return self.tokenizer.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the tokenizer."""
        self.tokenizer.load_state(state)

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Say how many texts of a sample are cut at `length`."""
        most = CHARACTERS_PER_TOKEN * self.length
        texts = [text[:most] for text in self._texts(raws, [])]
        cut = sum(len(self.tokenizer.encode(text)) > self._room for text in texts)
        if not cut:
            return []
        return [
            f"{cut} of {len(texts)} texts ({cut / len(texts):.0%}) are cut at {self.length} tokens: raise the "
            "modality's length to keep them whole"
        ]

    def describe(self, raw: Any, example: Tensor) -> dict[str, float | bool | str]:
        """Return the numbers of characters, words and tokens, and whether tokens beyond `length` are cut off."""
        text, tokens = self._text(raw), len(example)
        if tokens == self.length:
            tokens += len(self.tokenizer.encode(text)) - self._room
        return {
            "characters": len(text),
            "words": len(text.split()),
            "tokens": tokens,
            f"cut at {self.length} tokens": tokens > self.length,
        }

    def content(self, raw: Any, example: Tensor) -> str:
        """Return the whole text."""
        return self._text(raw)

    def preview(self, example: Tensor) -> Image.Image:
        """Render the text of an example, int64 (T,), on a white image of 256 x 256 pixels; short texts are larger.

        A mask token is shown as "[_]".
        """
        runs = groupby(example.tolist(), key=lambda token: token == self.tokenizer.mask)
        return text_image(
            "".join("[_]" * len(list(ids)) if masked else self.tokenizer.decode(list(ids)) for masked, ids in runs)
        )

    def examples(self, batch: TextBatch) -> list[Tensor]:
        """Return the examples of a batch, int64 (T_i,) each, on the CPU."""
        return [ids_T[mask_T] for ids_T, mask_T in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)]

    @property
    def descriptor_names(self) -> tuple[str, ...]:
        """Hashed log counts of tokens and of bigrams, and the number and variety of tokens."""
        bins = [f"log count of {what} in bin {i}" for what in ("tokens", "bigrams") for i in range(DESCRIPTOR_BINS)]
        return (*bins, "log number of tokens", "fraction of distinct tokens")

    def descriptors(self, example: Tensor) -> np.ndarray:
        """Return the descriptors of a text, float32 (P,), nan where it has special tokens alone."""
        ids_T, pairs = self._codes(example)
        bins = [np.bincount(_hash_index(codes, DESCRIPTOR_BINS), minlength=DESCRIPTOR_BINS) for codes in (ids_T, pairs)]
        count = len(ids_T)
        size = [np.log(count), len(np.unique(ids_T)) / count] if count else [np.nan, np.nan]
        return np.concatenate([np.log1p(bins).ravel(), size]).astype(np.float32)

    def _codes(self, ids: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of an example without special ones, and its bigrams, as uint64 codes."""
        ids_T = ids[~torch.isin(ids, torch.tensor(self.tokenizer.special))].numpy().astype(np.uint64)
        return ids_T, ids_T[:-1] * np.uint64(1_000_003) + ids_T[1:] + np.uint64(1 << 40)

    @property
    def baseline_description(self) -> str:
        """The kind of counts."""
        return "hashed log counts of tokens and bigrams"

    def baseline_features(self, batch: TextBatch) -> np.ndarray:
        """Return hashed bag-of-tokens features: log counts of tokens and bigrams in 2048 bins, L2-normalized.

        Feature hashing (Weinberger et al. 2009) instead of a vocabulary of bigrams, so that nothing is fitted.
        """
        features_BD = np.zeros((len(batch), BASELINE), dtype=np.float32)
        for counts_D, ids in zip(features_BD, self.examples(batch), strict=True):
            np.add.at(counts_D, _hash_index(np.concatenate(self._codes(ids)), BASELINE), 1.0)
        features_BD = np.log1p(features_BD)
        return features_BD / np.maximum(np.linalg.norm(features_BD, axis=1, keepdims=True), 1e-12)

    def _texts(self, raws: Iterable[Any], reasons: list[str]) -> Iterator[str]:
        """Yield the texts among raw values, and note why others are none; these are counted when they are decoded."""
        for raw in raws:
            try:
                yield self._text(raw)
            except BadSample as error:
                reasons.append(str(error))

    def _text(self, raw: Any) -> str:
        """Return a raw value as a string that is not empty."""
        if isinstance(raw, bytes):
            try:
                raw = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadSample(f"byte {error.start} is not UTF-8 ({error.reason})", "encoding") from error
        if not isinstance(raw, str):
            raise BadSample(f"text must be a string or bytes, not {_shown(raw)}", "unsupported")
        try:
            raw.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadSample(f"character {error.start} is half of a surrogate pair", "encoding") from error
        if not raw or not (self.tokenizer.keeps_whitespace or raw.strip()):
            raise BadSample("the text is empty" if not raw else "the text is blank", "empty")
        return raw.lower() if self.lower else raw


def _shown(raw: Any) -> str:
    """Return the type of a value and the value itself, shortened: "int (5)"."""
    value = repr(raw)
    return f"{type(raw).__name__} ({value if len(value) <= 40 else value[:40] + '...'})"


def _hash_index(codes_N: np.ndarray, bins: int) -> np.ndarray:
    """Return where each uint64 code is counted: the top bits of a multiplicative hash (Knuth, 6.4).

    Args:
        codes_N: uint64.
        bins: a power of 2.
    """
    return (codes_N * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bins.bit_length() + 1)
