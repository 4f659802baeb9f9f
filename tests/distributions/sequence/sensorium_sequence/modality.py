"""The modality 'sequence': DNA and proteins.

Letters: B sequences, T tokens of the longest of them, V ids.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sensorium import BadSample, Batch, Modality, SensoriumError, check_range, draw_text
from sensorium_sequence.alphabet import MAX_VOCABULARY, SPECIAL, Alphabet, Kind

LETTERS_OF_LINE, LINES, LINE, SIDE = 20, 13, 18, 224
"""Letters of a line of a preview; lines at most; height of a line, and width of all, in pixels."""
BASELINE = 1024
"""Largest number of n-grams that baseline features count."""


@dataclass
class Sequences(Batch):
    """Sequences of tokens; padding is on the right.

    Args:
        ids: int64 (B, T), 0 where `mask` is False.
        mask: bool (B, T), True at tokens.
    """

    ids: Tensor
    mask: Tensor

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches, padded to the longest sequence."""
        most = max(batch.ids.shape[1] for batch in batches)
        padded = [
            (F.pad(b.ids, (0, most - b.ids.shape[1])), F.pad(b.mask, (0, most - b.mask.shape[1]))) for b in batches
        ]
        return cls(*(torch.cat(parts) for parts in zip(*padded, strict=True)))

    def shape_key(self) -> Hashable:
        """Return a key that does not depend on the number of tokens."""
        return type(self)


class SequenceModality(Modality):
    """DNA, RNA and protein sequences, as k-mers side by side (k = 1: single bases or residues).

    A raw value is a string, or bytes in ASCII. Case, gaps, stops and white space do not count; RNA is read as DNA. A
    token with an ambiguous letter (N, X) is unknown. Sequences are cut at `length` tokens, and at a whole k-mer.

    Args:
        kind: "dna" or "protein".
        k: letters of a token, >= 1; there are 4 ** k or 20 ** k tokens, at most 4,096.
        length: largest number of tokens of a sequence, >= 1.
    """

    preview_cell = 256

    def __init__(self, kind: Kind = "dna", k: int = 1, length: int = 256) -> None:
        check_range("modality 'sequence'", "[1, inf)", k=k, length=length)
        self.alphabet, self.length = Alphabet(kind, k), length
        if self.alphabet.size > MAX_VOCABULARY + SPECIAL:
            raise SensoriumError(f"Tokens of {k} letters of {kind} are more than {MAX_VOCABULARY}: choose a smaller k.")

    def decode(self, raw: Any) -> Tensor:
        """Read a sequence: int64 (T,).

        Raises:
            BadSample: when it is no text, has a letter of no base or residue, or is shorter than one token.
        """
        letters = self._letters(raw)
        ids = self.alphabet.encode(letters[: self.length * self.alphabet.k])
        if not ids:
            raise BadSample(f"it has {len(letters)} letters, and a token has {self.alphabet.k}", "empty")
        return torch.tensor(ids)

    def _letters(self, raw: Any) -> str:
        try:
            text = raw.decode("ascii") if isinstance(raw, bytes) else raw
        except UnicodeDecodeError as error:
            raise BadSample(f"byte {error.start} is not ASCII", "encoding") from error
        if not isinstance(text, str):
            raise BadSample(f"a sequence is text, not a {type(raw).__name__}", "unsupported")
        try:
            return self.alphabet.letters(text)
        except ValueError as error:
            raise BadSample(str(error), "unsupported") from error

    def collate(self, examples: Sequence[Tensor]) -> Sequences:
        """Pad sequences, int64 (T_i,) each, to the longest of them."""
        lengths_B = torch.tensor([len(ids_T) for ids_T in examples])
        ids_BT = torch.nn.utils.rnn.pad_sequence(list(examples), batch_first=True)
        return Sequences(ids_BT, torch.arange(ids_BT.shape[1]) < lengths_B[:, None])

    def examples(self, batch: Sequences) -> list[Tensor]:
        """Return the sequences of a batch, int64 (T_i,) each, on the CPU."""
        return [ids_T[mask_T] for ids_T, mask_T in zip(batch.ids.cpu(), batch.mask.cpu(), strict=True)]

    def notes(self, raws: Sequence[Any]) -> list[str]:
        """Say how many sequences of a sample are cut at `length`."""
        lengths = []
        for raw in raws:
            try:
                lengths.append(len(self._letters(raw)) // self.alphabet.k)
            except BadSample:
                continue
        cut = sum(length > self.length for length in lengths)
        return [f"{cut} of {len(lengths)} sequences are cut at length: {self.length} tokens"] if cut else []

    def describe(self, raw: Any, example: Tensor) -> dict[str, float | bool | str]:
        """Return the numbers of letters, the fraction of G and C of DNA, and whether tokens are cut off."""
        letters = self._letters(raw)
        facts: dict[str, float | bool | str] = {
            "letters": len(letters),
            f"cut at {self.length} tokens": len(letters) // self.alphabet.k > self.length,
        }
        if self.alphabet.kind == "dna":
            facts["GC fraction"] = (letters.count("G") + letters.count("C")) / max(1, len(letters))
        return facts

    def content(self, raw: Any, example: Tensor) -> str:
        """Return the letters."""
        return self._letters(raw)

    def preview(self, example: Tensor) -> Image.Image:
        """Write the first letters on an image, "_" for masked and "?" for unknown ones."""
        letters = self.alphabet.decode(example.tolist())[: LETTERS_OF_LINE * LINES]
        lines = [letters[i : i + LETTERS_OF_LINE] for i in range(0, len(letters), LETTERS_OF_LINE)]
        image = Image.new("RGB", (SIDE, 8 + LINE * len(lines)), "white")
        for row, line in enumerate(lines):
            draw_text(image, (4, 4 + LINE * row), line, 13)
        return image

    @property
    def baseline_description(self) -> str:
        """What the baseline features are."""
        return f"frequencies of {' and '.join(f'{n * self.alphabet.k}-mers' for n in self._orders())}"

    def _orders(self) -> list[int]:
        """Return 1 and the largest n of which there are at most `BASELINE` n-grams."""
        largest = max(n for n in range(1, 6) if n == 1 or (self.alphabet.size - SPECIAL) ** n <= BASELINE)
        return [1, largest] if largest > 1 else [1]

    def baseline_features(self, batch: Sequences) -> np.ndarray:
        """Return the frequencies of n-grams of tokens: float32 (B, D); those with an unknown token are left out."""
        vocabulary = self.alphabet.size - SPECIAL
        rows = []
        for ids_T in self.examples(batch):
            parts = []
            for n in self._orders():
                grams_GN = ids_T.unfold(0, n, 1) if len(ids_T) >= n else ids_T.new_zeros(0, n)
                known_GN = grams_GN[(grams_GN >= SPECIAL).all(1)] - SPECIAL
                index_G = (known_GN * vocabulary ** torch.arange(n)).sum(1)
                parts.append(torch.bincount(index_G, minlength=vocabulary**n) / max(1, len(index_G)))
            rows.append(torch.cat(parts))
        return torch.stack(rows).numpy().astype(np.float32)
