"""View generators that audio shares with other signals."""

from __future__ import annotations

from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.audio.views.random_segments import AudioViews
from sensorium.modalities.signal import views as signal


class PlainViews(AudioViews, signal.Plain):
    """One view: the audio clip without augmentation."""

    def __init__(self, modality: AudioModality) -> None:
        super().__init__(modality)


class PermutationViews(AudioViews, signal.Permutation):
    """One view of the waveform with permuted segments of equal length; the target is the permutation.

    Its target "order" is int64 (B,): the index of the permutation, in the order of `itertools.permutations`.

    Args:
        modality: the audio modality.
        segments: number of segments, 2 to 5; there are 2, 6, 24 or 120 classes.
    """

    def __init__(self, modality: AudioModality, segments: int = 4) -> None:
        AudioViews.__init__(self, modality)
        signal.Permutation.__init__(self, modality, segments)
