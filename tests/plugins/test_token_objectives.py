"""The same objective files on words and on patches: a few steps on eight records lower the loss."""

import pytest
import torch

from sensorium.learner import Learner, make_views
from sensorium.modalities.image.encoders.vit import ViT
from sensorium.modalities.image.modality import ImageModality
from sensorium.modalities.image.views import plain, rotation
from sensorium.modalities.text import views as words
from sensorium.modalities.text.encoders.transformer import Transformer
from sensorium.modalities.text.modality import TextModality
from sensorium.plugins.masked.data2vec import Data2Vec
from sensorium.plugins.masked.mae import MAE
from sensorium.plugins.masked.simmim import SimMIM
from sensorium.plugins.predictive.jepa import JEPA
from sensorium.plugins.predictive.lejepa import LeJEPA
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
    "lejepa": lambda: LeJEPA(width=32, dim=8, directions=16, share=0.02),
    "masked-token": MaskedToken,
    "order": lambda: Predict(classes=6),
    "rotation": lambda: Predict(classes=4),
}
WORDS = {"masked-token": words.Masked, "order": words.Order, "lejepa": words.Deletion}
PATCHES = {"rotation": rotation.Rotation}


def text():
    modality = TextModality("characters", length=32)
    modality.fit(TEXTS)
    return modality, modality.collate([modality.decode(t) for t in TEXTS]), Transformer(modality, 32, 1, 2)


def image():
    modality = ImageModality(size=16)
    ramp = torch.linspace(0, 255, 16)
    pixels = [(ramp[:, None] * a + ramp[None] * (1 - a)).expand(3, -1, -1).to(torch.uint8) for a in torch.rand(8)]
    return modality, modality.collate(pixels), ViT(modality, patch=4, width=32, depth=1, heads=2)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("text", n) for n in OBJECTIVES if n != "rotation"]
    + [("image", n) for n in ("mae", "simmim", "data2vec", "jepa", "rotation")],
)
def test_a_few_steps_lower_the_loss(kind, name):
    torch.manual_seed(0)
    modality, batch, encoder = {"text": text, "image": image}[kind]()
    maker = WORDS.get(name, words.Plain) if kind == "text" else PATCHES.get(name, plain.Plain)
    records = RecordBatch([str(i) for i in range(8)], {kind: batch}, {kind: torch.ones(8, dtype=torch.bool)})
    views = make_views(records, {kind: maker(modality)}, torch.Generator().manual_seed(0))
    found = losses_while_training(Learner({kind: encoder}, OBJECTIVES[name]()), views, 25, 3e-3)
    assert found[-1] < 0.85 * found[0], found
