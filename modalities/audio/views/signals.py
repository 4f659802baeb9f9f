"""The views that sounds share with other signals."""

from __future__ import annotations

from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.audio.views.random_pieces import Sounds
from sensorium.modalities.signal import views as signal


class Plain(Sounds, signal.Plain):
    """One view: the sound itself."""

    def __init__(self, modality: AudioModality) -> None:
        super().__init__(modality)


class Permutation(Sounds, signal.Permutation):
    """One view whose equal segments are shuffled, to tell in which order they stand.

    Its target "order" is int64 (B,): the number of the order among all of them, in the order of
    `itertools.permutations`. Segments are cut out of the waveform.

    Args:
        modality: the audio modality.
        segments: how many segments, 2 to 5; there are 2, 6, 24 or 120 orders.
    """

    def __init__(self, modality: AudioModality, segments: int = 4) -> None:
        Sounds.__init__(self, modality)
        signal.Permutation.__init__(self, modality, segments)
