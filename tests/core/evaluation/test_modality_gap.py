import numpy as np
import pytest

from sensorium.errors import SensoriumError
from sensorium.evaluation.modality_gap import ModalityGap
from sensorium.feature_table import FeatureTable


def table(seed, shift=0.0, n=300, third=False):
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal((n, 8)).astype(np.float32) for _ in range(2))
    features = {"a": a, "b": b + np.float32(shift) * np.eye(8, dtype=np.float32)[0]}
    if third:
        features["c"] = rng.standard_normal((n, 8)).astype(np.float32)
    present = {name: np.ones(n, bool) for name in features}
    return FeatureTable([f"{seed}-{i}" for i in range(n)], features, present, {}, [str(i) for i in range(n)])


def measured(**options):
    gap = ModalityGap()
    gap.fit(table(0, **options))
    return gap.measure(table(1, **options)), gap


def test_modalities_that_mix_have_no_gap_and_cannot_be_told_apart():
    metrics, _ = measured()
    assert metrics["a-b gap ↓"] < 0.15
    assert 0.4 < metrics["a-b separability ↓"] < 0.6


def test_modalities_that_lie_apart_are_told_apart():
    metrics, gap = measured(shift=10.0)
    assert metrics["a-b gap ↓"] > 0.8
    assert metrics["a-b separability ↓"] > 0.99
    assert gap.chance(table(1)) == {"a-b separability ↓": 0.5}


def test_the_gap_is_the_distance_of_the_means_as_defined():
    t = table(3, shift=2.0, n=7)
    x, y = (t.features[name] / np.linalg.norm(t.features[name], axis=1, keepdims=True) for name in ("a", "b"))
    gap = ModalityGap()
    gap.fit(t)
    assert gap.measure(t)["a-b gap ↓"] == pytest.approx(np.linalg.norm(x.mean(0) - y.mean(0)), abs=1e-6)


def test_separability_is_no_matter_of_how_many_records_have_each():
    t, few = table(1), table(0)
    for part in (t, few):
        part.present["b"][10:] = False
        part.features["b"][10:] = np.nan
    gap = ModalityGap()
    gap.fit(few)
    assert 0.3 < gap.measure(t)["a-b separability ↓"] < 0.7


def test_every_pair_is_measured_and_one_modality_is_refused():
    metrics, _ = measured(third=True)
    assert {name.split()[0] for name in metrics} == {"a-b", "a-c", "b-c"}
    alone = table(0)
    del alone.features["b"], alone.present["b"]
    with pytest.raises(SensoriumError, match="Two modalities are needed"):
        ModalityGap().fit(alone)
    uneven = table(0)
    uneven.features["b"] = uneven.features["b"][:, :4]
    with pytest.raises(SensoriumError, match="no joint embedding space"):
        ModalityGap().fit(uneven)


def test_a_sample_is_enough_to_fit():
    gap = ModalityGap(max_records=50)
    gap.fit(table(0, shift=10.0))
    assert gap.measure(table(1, shift=10.0))["a-b separability ↓"] > 0.95
