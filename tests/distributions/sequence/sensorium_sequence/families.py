"""Computed families of sequences."""

from __future__ import annotations

import numpy as np

from sensorium import Record, Source, check_range
from sensorium_sequence.alphabet import LETTERS, Kind

NAMES = ("globin", "kinase", "lectin", "cadherin", "ferredoxin", "homeobox", "histone", "trypsin")


class Families(Source):
    """Computed families of DNA or proteins: field "sequence", "text" a few words on it, label "family", one of eight.

    Each family has a random ancestor. A record is that ancestor after evolution: each letter is lost or gains a random
    neighbor with probability `indels`, is replaced by a random one with probability `substitutions`, and the whole
    stands between random flanks of a tenth of its length each, on average; DNA lies on a random strand.

    Args:
        kind: "dna" or "protein".
        records: number of records, >= 8.
        length: letters of an ancestor, >= 8.
        substitutions: probability that a letter is replaced, in [0, 1).
        indels: probability that a letter is lost, and that one is gained, in [0, 1).
        seed: of the random numbers.
    """

    fields = ("sequence", "text")

    def __init__(
        self,
        kind: Kind = "dna",
        records: int = 800,
        length: int = 60,
        substitutions: float = 0.2,
        indels: float = 0.02,
        seed: int = 0,
    ) -> None:
        check_range("source 'families'", "[8, inf)", records=records, length=length)
        check_range("source 'families'", "[0, 1)", substitutions=substitutions, indels=indels)
        self._kind, self._records, self._length, self._seed = kind, records, length, seed
        self._substitutions, self._indels = substitutions, indels
        self._letters = np.array(list(LETTERS[kind]))
        rng = np.random.default_rng([seed, len(self._letters)])
        self._ancestors = [rng.integers(0, len(self._letters), length) for _ in NAMES]

    def __len__(self) -> int:
        return self._records

    def key(self, index: int) -> Record:
        """Return the record at `index` without its values."""
        index = range(len(self))[index]
        return Record(f"{self._kind}-{index}", {}, {"family": NAMES[index % len(NAMES)]})

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        rng = np.random.default_rng([self._seed, len(self._letters), range(len(self))[index]])
        letters = self._letters[self._evolved(self._ancestors[range(len(self))[index] % len(NAMES)], rng)]
        text, strand = "".join(letters), ""
        if self._kind == "dna":
            strand = " on the forward strand"
            if rng.random() < 0.5:
                text = text.translate(str.maketrans("ACGT", "TGCA"))[::-1]
                strand = " on the reverse strand"
        words = f"{key.labels['family']}{strand}, {round(len(text), -1)} {'bases' if strand else 'residues'}"
        return Record(key.id, {"sequence": text, "text": words}, key.labels)

    def _evolved(self, ancestor_L: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a descendant with flanks, as indices of letters."""
        size, length = len(self._letters), self._length
        kept = ancestor_L[rng.random(length) >= self._indels]
        gained = np.flatnonzero(rng.random(len(kept)) < self._indels)
        kept = np.insert(kept, gained, rng.integers(0, size, len(gained)))
        replaced = np.where(rng.random(len(kept)) < self._substitutions, rng.integers(0, size, len(kept)), kept)
        flanks = [rng.integers(0, size, rng.integers(0, length // 5 + 1)) for _ in range(2)]
        return np.concatenate([flanks[0], replaced, flanks[1]])
