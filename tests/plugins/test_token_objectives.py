"""The same objective files on words and on patches: a few steps on eight records lower the loss."""

import pytest
import torch

from sensorium.modalities.audio.encoders.spectrogram_transformer import SpectrogramTransformer
from sensorium.modalities.audio.encoders.wav2vec2 import Wav2Vec2Encoder as Waves
from sensorium.modalities.audio.modality import AudioModality
from sensorium.modalities.audio.views import signals
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views import plain, rotation
from sensorium.modalities.text import views as words
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality
from sensorium.models.learner import Learner, make_views
from sensorium.plugins.infomax.infograph import InfoGraph
from sensorium.plugins.masked.data2vec import Data2Vec
from sensorium.plugins.masked.k_means import KMeans
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.masked_clusters import MaskedClusters
from sensorium.plugins.masked.masked_prediction import Predictor
from sensorium.plugins.masked.online_clusters import Online
from sensorium.plugins.masked.simmim import SimMIM
from sensorium.plugins.masked.wav2vec2 import Wav2Vec2
from sensorium.plugins.predictive.jepa import JEPA
from sensorium.plugins.predictive.lejepa import LeJEPA
from sensorium.plugins.predictive.visreg import VISReg
from sensorium.plugins.pretext.masked_token import MaskedToken
from sensorium.plugins.pretext.predict import Predict
from sensorium.types import RecordBatch
from tests.plugins.toy_token_modality import losses_while_training

TEXTS = [f"{a} {b} {c}" for a in ("ab" * 6, "ccdd") for b in ("efefef", "gh") for c in ("iji", "klklkl" * 2)]
SMALL = {"width": 32, "depth": 1, "heads": 2}
OBJECTIVES = {
    "mae": lambda: MAE(**SMALL),
    "simmim": SimMIM,
    "data2vec": lambda: Data2Vec(momentum=1.0),
    "jepa": lambda: JEPA(**SMALL, momentum=1.0),
    "lejepa": lambda: LeJEPA(width=32, dim=8, directions=16, sigreg_weight=0.02),
    "visreg": lambda: VISReg(0.3, width=32, dim=8, directions=16),
    "masked-token": MaskedToken,
    "order": lambda: Predict(classes=6),
    "wav2vec2": lambda: Wav2Vec2(mask_probability=0.2, mask_length=2, codebook_size=8, dim=16, distractors=10),
    "infograph": InfoGraph,
    "best-rq": lambda: MaskedClusters(clusters=8),
    "hubert": lambda: MaskedClusters("k-means", clusters=8, mask="spans", mask_length=2),
    "hubert-start": lambda: MaskedClusters("k-means", clusters=8, k_means=KMeans(of="start")),
    "capi": lambda: MaskedClusters(
        "online", clusters=4, momentum=1.0, predictor=Predictor(1, 32, 2), online=Online(bins=4)
    ),
    "rotation": lambda: Predict(classes=4),
}
WORDS = {
    "masked-token": words.RandomTokenMaskViews,
    "order": words.PermutationViews,
    "lejepa": words.DeletionViews,
    "visreg": words.DeletionViews,
}
CLUSTERS = ("best-rq", "hubert", "hubert-start", "capi")
PATCHES = {"rotation": rotation.RotationViews}


def text():
    modality = TextModality("characters", length=32)
    modality.fit(TEXTS)
    return modality, modality.collate([modality.decode(t) for t in TEXTS]), Transformer(modality, 32, 1, 2)


def image():
    modality = ImageModality(size=16)
    ramp = torch.linspace(0, 255, 16)
    pixels = [(ramp[:, None] * a + ramp[None] * (1 - a)).expand(3, -1, -1).to(torch.uint8) for a in torch.rand(8)]
    return modality, modality.collate(pixels), ViT(modality, patch=4, width=32, depth=1, heads=2)


def sound(encoder):
    modality = AudioModality(sample_rate=8000, seconds=None, n_mels=16, window=16.0, hop=8.0)
    time = torch.arange(4000) / 8000
    sounds = [torch.sin(6.28 * (200 + 90 * i) * time * (1 + time))[: 4000 - 300 * i] for i in range(8)]
    modality.fit(sounds)
    return modality, modality.collate([modality.decode(s) for s in sounds]), encoder(modality)


def spectrogram():
    """Tokens that are pooled to features of twice their width."""
    return sound(lambda m: SpectrogramTransformer(m, patch=(8, 4), width=32, depth=1, heads=2, parts=2))


def wave():
    return sound(lambda m: Waves(m, width=32, depth=1, heads=2, features=16))


SEGMENTS = {"order": lambda modality: signals.PermutationViews(modality, segments=3)}
KINDS = {
    "text": (text, WORDS, words.PlainViews),
    "image": (image, PATCHES, plain.PlainViews),
    "spectrogram": (spectrogram, SEGMENTS, signals.PlainViews),
    "wave": (wave, SEGMENTS, signals.PlainViews),
}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("text", n) for n in OBJECTIVES if n not in ("rotation", "best-rq", "hubert")]
    + [("image", n) for n in ("mae", "simmim", "data2vec", "jepa", "wav2vec2", "rotation", *CLUSTERS)]
    + [("spectrogram", n) for n in ("mae", "simmim", "data2vec", "jepa", "wav2vec2", "order", *CLUSTERS)]
    + [("wave", n) for n in ("mae", "data2vec", "jepa", "wav2vec2", "best-rq", "capi")],
)
def test_a_few_steps_lower_the_loss(kind, name):
    torch.manual_seed(0)
    modality, batch, encoder = KINDS[kind][0]()
    maker = KINDS[kind][1].get(name, KINDS[kind][2])
    records = RecordBatch([str(i) for i in range(8)], {kind: batch}, {kind: torch.ones(8, dtype=torch.bool)})
    views = make_views(records, {kind: maker(modality)}, torch.Generator().manual_seed(0))
    learner = Learner({kind: encoder}, OBJECTIVES[name]())
    learner.fit([views])
    found = losses_while_training(learner, views, 25, 3e-3)
    assert found[-1] < 0.85 * found[0], found
