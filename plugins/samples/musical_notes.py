"""Synthetic notes of eight instruments; no package bundles labeled recordings."""

from __future__ import annotations

import numpy as np

from sensorium import Record, Source, check_range

RATE = 8000
"""Sampling rate, in Hz."""
SECONDS = 0.6
PITCHES = (110.0, 660.0)
"""Lowest and highest pitch, in Hz."""
PARTIALS = 8


class MusicalNotes(Source):
    """Synthetic notes of eight instruments, in equal numbers, always the same ones: ids such as "note-12".

    An instrument has amplitudes of eight partials, an attack, a decay and a noise level. Pitch, loudness, length and
    background noise are drawn for each note, independent of the instrument. Field
    "audio" holds {"array", "sampling_rate"}, .6 s at 8 kHz; label "instrument" is 0 to 7.

    Args:
        count: number of notes, 8 or more.
        noise: standard deviation of the background noise, relative to the note's, >= 0.
    """

    license = "none is needed: the notes are computed"

    INSTRUMENTS = 8

    def __init__(self, count: int = 640, noise: float = 0.3) -> None:
        check_range("source 'musical-notes'", f"[{self.INSTRUMENTS}, inf)", count=count)
        check_range("source 'musical-notes'", "[0, inf)", noise=noise)
        self.count, self.noise = count, noise
        made = np.random.default_rng(2026)
        self._amplitudes_IP = made.dirichlet(np.full(PARTIALS, 0.6), self.INSTRUMENTS)
        self._attacks_I, self._decays_I = (
            made.uniform(0.005, 0.1, self.INSTRUMENTS),
            made.uniform(0.05, 0.6, self.INSTRUMENTS),
        )
        self._noise_I = made.uniform(0.0, 0.3, self.INSTRUMENTS)

    @property
    def fields(self) -> tuple[str, ...]:
        """The audio clip."""
        return ("audio",)

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> Record:
        """Return the record at `index` without its audio."""
        if not -self.count <= index < self.count:
            raise IndexError(index)
        index %= self.count
        return Record(f"note-{index}", {}, {"instrument": index % self.INSTRUMENTS})

    def __getitem__(self, index: int) -> Record:
        key = self.key(index)
        audio = {"array": self._play(index % self.count), "sampling_rate": RATE}
        return Record(key.id, {"audio": audio}, key.labels)

    def _play(self, index: int) -> np.ndarray:
        """Return the samples of one note, float32 (T,)."""
        rng, instrument = np.random.default_rng((2026, index)), index % self.INSTRUMENTS
        time_T = np.arange(int(RATE * SECONDS)) / RATE
        low, high = np.log(PITCHES)
        pitch, phases_P = np.exp(rng.uniform(low, high)), rng.uniform(0, 2 * np.pi, PARTIALS)
        partials_P = np.arange(1, PARTIALS + 1)
        audible_P = self._amplitudes_IP[instrument] * (partials_P * pitch < RATE / 2)  # below the Nyquist frequency
        waves_PT = np.sin(2 * np.pi * pitch * partials_P[:, None] * time_T + phases_P[:, None])
        attack, decay = self._attacks_I[instrument], self._decays_I[instrument] * rng.uniform(0.7, 1.4)
        envelope_T = (1 - np.exp(-time_T / attack)) * np.exp(-time_T / decay)
        breath_T = self._noise_I[instrument] * rng.standard_normal(len(time_T))
        note_T = (np.sqrt(audible_P) @ waves_PT + breath_T) * envelope_T
        note_T = note_T / (note_T.std() + 1e-9) + self.noise * rng.standard_normal(len(time_T))
        return (0.1 * rng.uniform(0.3, 1.0) * note_T).astype(np.float32)
