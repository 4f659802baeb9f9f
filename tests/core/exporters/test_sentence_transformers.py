"""A text encoder as a folder of sentence-transformers."""

import pytest
import sentence_transformers
import torch

from sensorium.errors import SensoriumError
from sensorium.exporters import sentence_transformers as ours
from sensorium.exporters.sentence_transformers import SentenceTransformers
from tests.core.exporters import models


@pytest.mark.parametrize("pool", ["mean", "first"])
def test_it_gives_the_embeddings_of_the_run(pool, tmp_path):
    model = models.texts(pool=pool)
    lines = SentenceTransformers().export(model, tmp_path)
    verified = SentenceTransformers().verify(model, tmp_path)
    assert verified.largest < 1e-5
    assert any("Spearman's correlation" in sentence for sentence in verified.takes)
    texts = ["the cat ate the ball", "x", "a " * 50]
    names = {"sentence_transformers": sentence_transformers, "texts": texts}
    exec(lines, names)
    wanted = model.embed(text=texts)["text"]
    torch.testing.assert_close(torch.from_numpy(names["embeddings"]), wanted, rtol=1e-5, atol=1e-5)
    modules = [type(module).__module__ for module in names["model"]]
    assert all(name.startswith("sentence_transformers.") for name in modules)


def test_the_joint_space_is_a_module_behind_the_pooling(tmp_path):
    recipe = {
        "data": {},
        "modalities": {
            "image": {
                "modality": {"name": "image", "size": 32},
                "views": "plain",
                "encoder": {"name": "cnn", "width": 4},
            },
            "text": {
                "modality": {"name": "text", "vocab": 300, "length": 24},
                "views": "plain",
                "encoder": {"name": "transformer", "width": 32, "depth": 1, "heads": 2},
            },
        },
        "objective": {"name": "clip", "dim": 16},
        "train": {"steps": 1},
    }
    plan = models.make_plan(models.read_recipe(recipe, models.EXTENSIONS.registry), models.EXTENSIONS)
    plan.modalities["text"].fit(models.TEXTS)
    model = models.Model(plan, plan.learner())
    SentenceTransformers(modality="text").export(model, tmp_path / "joint")
    verified = SentenceTransformers(modality="text").verify(model, tmp_path / "joint")
    assert verified.largest < 1e-5
    assert sentence_transformers.SentenceTransformer(str(tmp_path / "joint")).encode("x").shape == (16,)


def test_one_that_ranks_pairs_otherwise_is_an_error(tmp_path, monkeypatch):
    model = models.texts()
    SentenceTransformers().export(model, tmp_path)
    monkeypatch.setattr(ours, "largest_difference", lambda *_: 0.0)
    with torch.no_grad():
        model.learner.encoder("text").embed.weight.add_(torch.randn(model.learner.encoder("text").embed.weight.shape))
    with pytest.raises(SensoriumError, match="ranks pairs of sentences otherwise"):
        SentenceTransformers().verify(model, tmp_path)


def test_what_is_no_text_is_refused(tmp_path):
    with pytest.raises(SensoriumError, match="is for texts whose encoder and tokenizer transformers has"):
        SentenceTransformers().export(models.vit(), tmp_path)
