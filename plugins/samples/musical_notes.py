"""Notes of made-up instruments: no wheel brings labeled recordings, so these are computed."""

from __future__ import annotations

import numpy as np

from sensorium import Record, Source
from sensorium.errors import DataError

RATE = 8000
"""Samples a second."""
SECONDS = 0.6
PITCHES = (110.0, 660.0)
"""Lowest and highest pitch, in hertz."""
PARTIALS = 8


class Notes(Source):
    """Notes of eight made-up instruments, in equal numbers, the same ones every time: ids such as "note-12".

    An instrument is the strengths of its eight partials, how fast it sets in and dies away, and how much it breathes. A
    note has a pitch, a loudness, a length and background noise of its own, which no instrument has to itself. Field
    "audio" holds {"array", "sampling_rate"}, .6 s at 8 kHz; label "instrument" is 0 to 7.

    Args:
        count: how many notes.
        noise: deviation of the background, for notes of deviation 1.
    """

    INSTRUMENTS = 8

    def __init__(self, count: int = 640, noise: float = 0.3) -> None:
        if count < self.INSTRUMENTS or noise < 0:
            raise DataError(f"The source 'notes' has {self.INSTRUMENTS} notes or more and noise from 0 up.")
        self.count, self.noise = count, noise
        made = np.random.default_rng(2026)
        self._strengths_IP = made.dirichlet(np.full(PARTIALS, 0.6), self.INSTRUMENTS)
        self._rises_I, self._falls_I = (
            made.uniform(0.005, 0.1, self.INSTRUMENTS),
            made.uniform(0.05, 0.6, self.INSTRUMENTS),
        )
        self._breaths_I = made.uniform(0.0, 0.3, self.INSTRUMENTS)

    @property
    def fields(self) -> tuple[str, ...]:
        """The sound."""
        return ("audio",)

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> Record:
        """Return the record at `index` without its sound."""
        if not -self.count <= index < self.count:
            raise IndexError(index)
        index %= self.count
        return Record(f"note-{index}", {}, {"instrument": index % self.INSTRUMENTS})

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        sound = {"array": self._play(index % self.count), "sampling_rate": RATE}
        return Record(key.id, {"audio": sound}, key.labels)

    def _play(self, index: int) -> np.ndarray:
        """Return the samples of one note, float32 (T,)."""
        rng, instrument = np.random.default_rng((2026, index)), index % self.INSTRUMENTS
        time_T = np.arange(int(RATE * SECONDS)) / RATE
        low, high = np.log(PITCHES)
        pitch, phases_P = np.exp(rng.uniform(low, high)), rng.uniform(0, 2 * np.pi, PARTIALS)
        partials_P = np.arange(1, PARTIALS + 1)
        heard_P = self._strengths_IP[instrument] * (partials_P * pitch < RATE / 2)  # none beyond what the rate holds
        waves_PT = np.sin(2 * np.pi * pitch * partials_P[:, None] * time_T + phases_P[:, None])
        rise, fall = self._rises_I[instrument], self._falls_I[instrument] * rng.uniform(0.7, 1.4)
        envelope_T = (1 - np.exp(-time_T / rise)) * np.exp(-time_T / fall)
        breath_T = self._breaths_I[instrument] * rng.standard_normal(len(time_T))
        note_T = (np.sqrt(heard_P) @ waves_PT + breath_T) * envelope_T
        note_T = note_T / (note_T.std() + 1e-9) + self.noise * rng.standard_normal(len(time_T))
        return (0.1 * rng.uniform(0.3, 1.0) * note_T).astype(np.float32)
