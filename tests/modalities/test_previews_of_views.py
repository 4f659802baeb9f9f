"""The gallery draws what view generators say of their rows."""

import numpy as np
import torch

from sensorium.modalities.audio.views.generators import SpectrogramViews, WaveformViews
from sensorium.modalities.signal.plot import EDGE, INK, MASK, SIDE, STRIP
from sensorium.modalities.timeseries.views.crops import OverlappingCrops
from sensorium.modalities.timeseries.views.masking import PatchMask
from sensorium.training.gallery import HEADING, MARGIN, draw_gallery
from sensorium.types import RecordBatch
from tests.modalities.audio import clips
from tests.modalities.timeseries import series


def pixels(name, modality, generator, batch):
    """The cells of a gallery as arrays, by row and column."""
    records = RecordBatch([str(i) for i in range(len(batch))], {name: batch}, {name: None}, {})
    sheet = np.asarray(draw_gallery(records, {name: modality}, {name: generator}, torch.Generator().manual_seed(0), 2))
    step = SIDE + MARGIN
    columns = (sheet.shape[1] - MARGIN) // step
    return [
        [sheet[HEADING + row * step :][:SIDE, MARGIN + column * step :][:, :SIDE] for column in range(columns)]
        for row in range(2)
    ]


def bar(cell):
    """The first and last pixel of the bar that shows a crop."""
    found = np.flatnonzero((cell[STRIP // 2] == INK[0]).all(-1))
    return (found.min(), found.max()) if len(found) else None


def test_crops_of_series_and_audio_show_where_they_lie():
    modality = series.modality()
    for row in pixels("timeseries", modality, OverlappingCrops(modality), series.batch_of([90, 60])):
        first, second = (bar(cell) for cell in row[1:])
        assert bar(row[0]) is None
        assert EDGE <= first[0] <= second[0] <= first[1] <= second[1] <= SIDE - EDGE
    audio = clips.modality()
    for generator in (WaveformViews(audio, crop=0.1), SpectrogramViews(audio, crop=0.2)):
        for row in pixels("audio", audio, generator, clips.batch_of([4000, 3000])):
            assert bar(row[0]) is None
            assert all(bar(cell) for cell in row[1:])


def test_masked_patches_are_dark():
    modality = series.modality()
    for original, view in pixels("timeseries", modality, PatchMask(modality, 4), series.batch_of([90, 60])):
        assert (original == MASK).all(-1).mean() < 0.01  # some pixels of letters
        assert 0.1 < (view == MASK).all(-1).mean() < 0.8
