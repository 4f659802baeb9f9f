"""Zero-shot classification with a planted joint space."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sensorium import SensoriumError
from sensorium.evaluation.zero_shot import ZeroShot
from tests.core.evaluation.tables_of_records import table

WORDS = {"cat": 0, "dog": 1, "owl": 2, "fox": 3, "hen": 4, "bee": 5, "ant": 6}


def embed(asked: list[str] | None = None):
    """A text encoder: the axis of the animal that a sentence names, bent by its first letter."""

    def call(**values):
        ((name, texts),) = values.items()
        if asked is not None:
            asked.extend(texts)
        rows = torch.zeros(len(texts), 8)
        for row, text in zip(rows, texts, strict=True):
            row[next(axis for word, axis in WORDS.items() if word in text)] = 1.0
            row[7] = 0.2 * (ord(text[0]) % 5)
        return {name: rows * (1 + len(texts[0]))}

    return call


def images(words, labels=None, prefix="r"):
    x = np.zeros((len(words), 8))
    x[np.arange(len(words)), [WORDS[word] for word in words]] = 3.0
    return table({"image": x}, {"animal": labels if labels is not None else words}, prefix=prefix)


def test_names_what_it_sees_and_ensembles_prompts():
    asked: list[str] = []
    evaluator = ZeroShot(prompts="text", templates=("a photo of a {}", "{}!"), classes={"cat": ["cat", "big cat"]})
    evaluator.prepare(embed(asked))
    evaluator.fit(images(list(WORDS)))
    test = images(["cat", "owl", "bee", "owl"], prefix="t")
    assert evaluator.measure(test) == {"top-1 accuracy": 1.0, "top-5 accuracy": 1.0}
    assert evaluator.chance(test) == pytest.approx({"top-1 accuracy": 1 / 7, "top-5 accuracy": 5 / 7})
    assert {"a photo of a cat", "cat!", "a photo of a big cat", "big cat!"} <= set(asked)
    assert len(asked) == 2 * (len(WORDS) + 1)
    prompts = [embed()(text=[t])["text"][0] for t in ("a photo of a cat", "cat!", "a photo of a big cat", "big cat!")]
    mean = torch.stack([p / p.norm() for p in prompts]).mean(0)
    assert torch.allclose(evaluator.classes_CD[evaluator.classes.index("cat")].cpu(), mean / mean.norm(), atol=1e-6)


def test_top_five_and_unknown_classes():
    evaluator = ZeroShot(prompts="text")
    evaluator.prepare(embed())
    evaluator.fit(images(list(WORDS)))
    metrics = evaluator.measure(images(["cat", "dog"], ["cat", "whale"], prefix="t"))
    assert metrics == {"top-1 accuracy": 0.5, "top-5 accuracy": 0.5}


def test_numbered_labels_are_named_by_the_option_without_a_train_part():
    evaluator = ZeroShot(prompts="text", classes={"0": "cat", "1": "dog"})
    evaluator.prepare(embed())
    evaluator.fit(images([]))
    assert evaluator.measure(images(["dog", "cat"], [1, 0]))["top-1 accuracy"] == 1.0


def test_ties_count_against():
    evaluator = ZeroShot(prompts="text")
    evaluator.prepare(lambda text: {"text": torch.ones(len(text), 8)})
    evaluator.fit(images(list(WORDS)))
    assert evaluator.measure(images(["cat"], prefix="t")) == {"top-1 accuracy": 0.0, "top-5 accuracy": 0.0}


def test_modalities_are_by_default_the_first_and_the_next():
    both = images(["cat", "dog"])
    both.features["words"], both.present["words"] = np.zeros((2, 0)), np.zeros(2, bool)
    evaluator = ZeroShot()
    evaluator.prepare(embed())
    evaluator.fit(both)
    assert evaluator.measure(both) == {"top-1 accuracy": 1.0}
    with pytest.raises(SensoriumError, match="needs a second modality for prompts"):
        evaluator.fit(images(["cat", "dog"]))


def test_refuses_in_a_sentence():
    with pytest.raises(SensoriumError, match=r"needs \{\} in place of the class name"):
        ZeroShot(prompts="text", templates=("a photo",))
    with pytest.raises(SensoriumError, match="model that embeds prompts"):
        ZeroShot(prompts="text").fit(images(["cat", "dog"]))
    evaluator = ZeroShot(prompts="text")
    evaluator.prepare(embed())
    with pytest.raises(SensoriumError, match="two classes or more"):
        evaluator.fit(images(["cat"]))
    evaluator.prepare(lambda text: {"text": torch.eye(2)})
    evaluator.fit(images(["cat", "dog"]))
    with pytest.raises(SensoriumError, match="no joint embedding space"):
        evaluator.measure(images(["cat"]))


def test_gives_the_accuracy_of_open_clip_on_the_same_embeddings():
    """Its classifier of prompt ensembles, and its way of counting, on random embeddings that are often wrong."""
    import open_clip

    rng = torch.Generator().manual_seed(0)
    known: dict[str, torch.Tensor] = {}

    def encode(texts):
        return torch.stack([known.setdefault(text, torch.randn(8, generator=rng)) for text in texts])

    class Model:
        def encode_text(self, texts, normalize):
            return torch.nn.functional.normalize(encode(texts), dim=-1)

    class Texts(list):
        def to(self, device):
            return self

    templates, words = ("a {}", "the {}!", "{} or not"), list(WORDS)
    weights_DC = open_clip.build_zero_shot_classifier(
        Model(), Texts, words, [lambda c, t=t: t.replace("{}", c) for t in templates], None, "cpu", use_tqdm=False
    )
    labels = [words[i] for i in torch.randint(len(words), (300,), generator=rng).tolist()]
    x = np.stack([(weights_DC[:, words.index(w)] + 0.7 * torch.randn(8, generator=rng)).numpy() for w in labels])
    order = (torch.from_numpy(x) @ weights_DC).topk(5, dim=1).indices
    right = order == torch.tensor([words.index(w) for w in labels])[:, None]
    records = table({"image": x}, {"animal": labels}, prefix="q")
    evaluator = ZeroShot(query="image", prompts="text", templates=templates)
    evaluator.prepare(lambda **values: {name: encode(texts) for name, texts in values.items()})
    evaluator.fit(records)
    metrics = evaluator.measure(records)
    assert metrics["top-1 accuracy"] == pytest.approx(right[:, 0].float().mean().item())
    assert metrics["top-5 accuracy"] == pytest.approx(right.any(1).float().mean().item())
    assert 0.2 < metrics["top-1 accuracy"] < 0.9
