"""Alphabets of sequences, and k-mers as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["dna", "protein"]
LETTERS: dict[Kind, str] = {"dna": "ACGT", "protein": "ACDEFGHIKLMNPQRSTVWY"}
AMBIGUOUS: dict[Kind, str] = {"dna": "NRYSWKMBDHV", "protein": "XBZJUO"}
"""Letters of IUPAC that stand for several bases or residues, or for rare ones: they are read as unknown."""
GAPS = "-.* \t\r\n"
"""Gaps of alignments, stops and white space, which are left out."""
MASK, UNKNOWN, SPECIAL = 0, 1, 2
"""Ids of the mask token and of a token with an ambiguous letter; number of such ids."""
MAX_VOCABULARY = 4096


@dataclass(frozen=True)
class Alphabet:
    """K-mers, side by side, of DNA (RNA is read as DNA) or proteins.

    Args:
        kind: "dna" or "protein".
        k: letters of a token.
    """

    kind: Kind
    k: int

    @property
    def size(self) -> int:
        """Number of ids, special ones included."""
        return len(LETTERS[self.kind]) ** self.k + SPECIAL

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each k-mer."""
        return {"".join(kmer): n for n, kmer in enumerate(product(LETTERS[self.kind], repeat=self.k), start=SPECIAL)}

    @cached_property
    def kmers(self) -> list[str]:
        """The k-mer of each id, "_" in place of letters for the mask, "?" for unknown ones."""
        return ["_" * self.k, "?" * self.k, *self.ids]

    @cached_property
    def complements(self) -> Tensor:
        """The id of the reverse complement of each id, int64 (V,), of DNA."""
        turn = str.maketrans("ACGT", "TGCA")
        return torch.tensor([MASK, UNKNOWN, *(self.ids[kmer.translate(turn)[::-1]] for kmer in self.ids)])

    def letters(self, text: str) -> str:
        """Return a sequence in upper case, without gaps.

        Raises:
            ValueError: for a letter that is none of the alphabet's.
        """
        text = text.upper().translate({ord(gap): None for gap in GAPS})
        text = text.replace("U", "T") if self.kind == "dna" else text
        strange = sorted(set(text) - set(LETTERS[self.kind] + AMBIGUOUS[self.kind]))
        if strange:
            raise ValueError(f"{strange[0]!r} is no letter of {'DNA' if self.kind == 'dna' else 'proteins'}")
        return text

    def encode(self, letters: str) -> list[int]:
        """Return the ids of the k-mers; letters that are left over at the end are left out."""
        count = len(letters) // self.k
        return [self.ids.get(letters[i * self.k : (i + 1) * self.k], UNKNOWN) for i in range(count)]

    def decode(self, ids: list[int]) -> str:
        """Return ids as letters."""
        return "".join(self.kmers[i] for i in ids)
