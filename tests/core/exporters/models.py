"""Small models of every modality, with their first weights."""

import numpy as np
import torch

from sensorium.models.model import Model
from sensorium.models.plan import make_plan
from sensorium.recipe import read_recipe
from sensorium.registration.discovery import load_extensions

EXTENSIONS = load_extensions()
TEXTS = ["a cat sat on the mat", "the dog ate the red ball", "a b c d e f g"] * 4


def model_of(modality, encoder, objective="lejepa", views="plain", values=(), **options):
    """Return a model of one tower.

    Args:
        modality: its name.
        encoder: name and options of the encoder.
        objective: its name.
        views: of the view generator.
        values: raw values that the modality is fitted to.
        options: of the modality.
    """
    recipe = {
        "data": {},
        "modalities": {modality: {"modality": {"name": modality, **options}, "views": views, "encoder": encoder}},
        "objective": objective,
        "train": {"steps": 1},
    }
    plan = make_plan(read_recipe(recipe, EXTENSIONS.registry), EXTENSIONS)
    if not plan.modalities[modality].is_fitted:
        plan.modalities[modality].fit(values)
    torch.manual_seed(0)
    return Model(plan, plan.learner())


def vit(**options):
    encoder = {"name": "vit", "width": 32, "depth": 2, "heads": 2, "patch": 8, **options}
    return model_of("image", encoder, "mae", size=32)


def texts(views="random-token-mask", objective="masked-token", tokenizer="bpe", **options):
    encoder = {"name": "transformer", "width": 32, "depth": 2, "heads": 2, **options}
    return model_of("text", encoder, objective, views, TEXTS, vocab=300, length=24, tokenizer=tokenizer)


def series():
    values = [np.random.default_rng(i).standard_normal((2, 100)).astype(np.float32) for i in range(3)]
    encoder = {"name": "patch-transformer", "width": 32, "depth": 2, "heads": 2}
    return model_of("timeseries", encoder, "mae", "plain", values)


def clips():
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32) / 10
    encoder = {"name": "spectrogram-transformer", "width": 32, "depth": 1, "heads": 2}
    values = [{"array": noise, "sampling_rate": 8000}]
    return model_of("audio", encoder, "mae", "plain", values, sample_rate=8000, n_mels=32, seconds=0.5)


def molecules():
    return model_of("molecule", {"name": "gin", "width": 32, "depth": 2}, "infograph")
