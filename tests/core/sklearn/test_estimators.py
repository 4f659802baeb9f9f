"""Estimators in the hands of scikit-learn: what they take, and where they take part."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sensorium
from sensorium.errors import Interrupted
from sensorium.finetuning.finetuner import Finetuner
from sensorium.sklearn import SSLClassifier, SSLRegressor, SSLTransformer
from tests.core.sklearn.tiny import TINY, series

X, Y = series()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A pretrained run: estimators that start from it train no encoder."""
    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    changes = [*TINY, "data.val=0", "data.test=0", "evaluate.evaluators={}"]
    sensorium.fit("ts2vec", changes, source={"timeseries": X}, run_dir=folder)
    return folder


@pytest.fixture(scope="module")
def classifier():
    return SSLClassifier(overrides=TINY, random_state=0, device="cpu").fit(X, Y)


def test_features_are_those_of_the_run(run):
    transformer = SSLTransformer(overrides=TINY, run=run, device="cpu").fit(X)
    expected = sensorium.load(run, device="cpu").embed(space="features", timeseries=X)["timeseries"].numpy()
    assert np.array_equal(transformer.transform(X), expected)
    assert transformer.transform(X).dtype == np.float32
    frame = transformer.set_output(transform="pandas").transform(X[:3])
    assert list(frame) == list(transformer.get_feature_names_out()) == [f"ssltransformer{i}" for i in range(8)]


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    of_seeds = [SSLTransformer(overrides=TINY, random_state=seed, device="cpu").fit_transform(X) for seed in (0, 0, 1)]
    assert np.array_equal(of_seeds[0], of_seeds[1])
    assert not np.array_equal(of_seeds[0], of_seeds[2])


def test_classes_and_probabilities(classifier):
    p_NC = classifier.predict_proba(X)
    assert classifier.classes_.tolist() == ["down", "up"]
    assert np.allclose(p_NC.sum(1), 1)
    assert np.array_equal(classifier.predict(X), classifier.classes_[p_NC.argmax(1)])
    assert classifier.score(X, Y) > 0.7
    assert classifier.n_features_in_ == 12


def test_pickled_estimators_predict_the_same(classifier):
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(X), classifier.predict_proba(X))
    assert clone(classifier).get_params() == classifier.get_params()
    assert not hasattr(clone(classifier), "classes_")


def test_few_labels_are_learned_from_and_the_others_only_pretrained_on(run):
    few = np.where(np.arange(len(Y)) < 16, Y, None)
    options = {"overrides": TINY, "run": run, "random_state": 0, "device": "cpu"}
    of_few = SSLClassifier(**options).fit(X, few).predict_proba(X)
    of_these = SSLClassifier(**options).fit(X[:16], Y[:16]).predict_proba(X)
    assert np.allclose(of_few, of_these, atol=1e-6), "records without a label teach the head nothing"


AMOUNTS = ["finetune.labels_per_class=3", "finetune.label_fraction=0.4"]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_few_of_the_labels_are_drawn(run, monkeypatch, amount):
    drawn = []
    read = Finetuner.read
    monkeypatch.setattr(Finetuner, "read", lambda self: drawn.append(self.train.tolist()) or read(self))
    for seed in (0, 0, 1):
        SSLClassifier(overrides=[*TINY, amount], run=run, random_state=seed, device="cpu").fit(X, Y)
    assert drawn[0] == drawn[1] != drawn[2]
    if "per_class" in amount:
        assert sorted(Y[drawn[0]]) == ["down"] * 3 + ["up"] * 3
    else:
        assert len(drawn[0]) == 16


def test_a_grid_compares_amounts_of_labels(run):
    model = SSLClassifier(run=run, random_state=0, device="cpu")
    grid = {"overrides": [[*TINY, f"finetune.labels_per_class={count}"] for count in (3, 8)]}
    GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, Y)
    few, many = (SSLClassifier(overrides=one, run=run, random_state=0, device="cpu") for one in grid["overrides"])
    assert not np.array_equal(few.fit(X, Y).predict_proba(X), many.fit(X, Y).predict_proba(X))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.test=0.5", "'data.test' has no place in an estimator, where all records are learned from"),
        ("finetune.labels=[kind]", "'finetune.labels' has no place in an estimator, where y is what is learned"),
        ("finetune.task=regression", "'finetune.task' has no place in an estimator, where a classifier learns classes"),
        ("finetune={task: {name: classification, class_weights: balanced}}", r"'finetune\.task\.name' has no place"),
        ("finetune.seeds=3", "'finetune.seeds' has no place in an estimator"),
        ("finetune.labels_per_class=[3,8]", r"labels_per_class is a list, \[3, 8\], and an estimator learns from one"),
        ("finetune.label_fraction=[0.1,1]", r"label_fraction is a list, .* each in a grid of overrides"),
        ("finetune.label_fraction=0.1", r"There are 4 records to learn from, too few for 5 folds: give more labels\."),
        ("finetune.labels_per_class=2", "There are 4 records to learn from, too few for 5 folds"),
    ],
)
def test_overrides_that_an_estimator_decides_itself_are_refused(run, change, said):
    with pytest.raises(ValueError, match=said):
        SSLClassifier(overrides=[*TINY, change], run=run, device="cpu").fit(X, Y)


def test_a_transformer_holds_nothing_out(run):
    for change in ("data.val=0.2", "data.test=0.2"):
        with pytest.raises(ValueError, match="has no place in an estimator, where all records are learned from"):
            SSLTransformer(overrides=[*TINY, change], run=run, device="cpu").fit(X)


def test_one_of_several_modalities_is_named_before_anything_is_trained():
    with pytest.raises(ValueError, match=r"Name the modality by finetune\.modality=NAME; the run has: image, text\."):
        SSLClassifier("image-text", device="cpu").fit(pd.DataFrame({"image": ["a.png"] * 8, "text": ["a"] * 8}), Y[:8])


def test_one_text_is_no_list_of_overrides(run):
    with pytest.raises(ValueError, match=r"Overrides are a list of texts, such as \['train.steps=100'\], not one text"):
        SSLTransformer(overrides="train.steps=3", run=run, device="cpu").fit(X)


def test_numbers(run):
    y = X[:, -1] - X[:, 0]
    y[30:] = np.nan
    model = SSLRegressor(overrides=TINY, run=run, random_state=0, device="cpu").fit(X, y)
    assert model.predict(X).shape == (40,)
    assert model.score(X[:30], y[:30]) > 0.3


def test_pipeline_cross_validation_and_grid(run):
    pipeline = make_pipeline(
        StandardScaler(), SSLTransformer(overrides=TINY, run=run, device="cpu"), LogisticRegression()
    )
    assert cross_val_score(pipeline, X, Y, cv=2).mean() > 0.6
    grid = GridSearchCV(pipeline, {"ssltransformer__space": ["features", "embedding"]}, cv=2).fit(X, Y)
    assert set(grid.best_params_) == {"ssltransformer__space"}
    assert grid.best_estimator_.predict(X).shape == (40,)
    classifier = SSLClassifier(overrides=TINY, run=run, random_state=0, device="cpu")
    assert cross_val_score(classifier, X, Y, cv=2).mean() > 0.6


def test_lists_of_paths_and_data_frames(run, tmp_path):
    paths = []
    for row, values in enumerate(X[:6]):
        np.save(tmp_path / f"{row}.npy", values)
        paths.append(str(tmp_path / f"{row}.npy"))
    transformer = SSLTransformer(overrides=TINY, run=run, device="cpu")
    expected = transformer.fit(X[:6]).transform(X[:6])
    for given in (paths, pd.Series(paths), pd.DataFrame({"timeseries": paths}), pd.DataFrame({"file": paths})):
        assert np.array_equal(transformer.fit(given).transform(given), expected)
    frame = pd.DataFrame(X[:6], columns=[f"t{i}" for i in range(12)])
    assert np.array_equal(transformer.fit(frame).transform(frame), expected)
    assert transformer.feature_names_in_.tolist() == list(frame)
    ragged = [X[0], X[1, :9], X[2]]
    assert transformer.fit(ragged).transform(ragged).shape == (3, 8)


def test_what_cannot_be_learned_is_a_value_error(run):
    model = SSLClassifier(overrides=TINY, run=run, device="cpu")
    with pytest.raises(ValueError, match="needs two classes or more, and y has one class"):
        model.fit(X, ["up"] * 40)
    with pytest.raises(ValueError, match="y has no label"):
        model.fit(X, [None] * 40)
    with pytest.raises(ValueError, match="too few for 5 folds"):
        model.fit(X[:3], ["up", "down", "up"])
    with pytest.raises(ValueError, match=r"there is no key 'train\.step'"):
        SSLTransformer(overrides=["train.step=2"]).fit(X)
    with pytest.raises(ValueError, match="cannot be decoded"):
        SSLTransformer(overrides=TINY, run=run, device="cpu").fit(["nowhere.npy", "no.npy"])


def test_ctrl_c_ends_a_cross_validation(monkeypatch):
    """A stopped training would otherwise be a failed fit, which scikit-learn scores as nan before it goes on."""

    def stopped(*_):
        raise Interrupted("The training stopped.", 2)

    monkeypatch.setattr("sensorium.sklearn.transformer.pretrain", stopped)
    with pytest.raises(KeyboardInterrupt, match="The training stopped"):
        cross_val_score(make_pipeline(SSLTransformer(overrides=TINY), LogisticRegression()), X, Y, cv=2)
