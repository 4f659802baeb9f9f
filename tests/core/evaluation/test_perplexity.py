import math

import numpy as np
import pytest

from sensorium.errors import SensoriumError
from sensorium.evaluation.perplexity import Perplexity
from sensorium.feature_table import FeatureTable


def table(nats, tokens, uniform, characters):
    columns = {"nats": nats, "tokens": tokens, "uniform": uniform}
    n = len(nats)
    return FeatureTable(
        [str(i) for i in range(n)],
        {name: np.array(values, np.float32)[:, None] for name, values in columns.items()},
        {name: np.ones(n, bool) for name in columns},
        {"characters": np.array(characters, object)},
        [str(i) for i in range(n)],
    )


def test_every_token_counts_alike_however_records_are_cut():
    found = Perplexity(unit="characters").measure(table([2.0, 10.0], [1, 9], [1, 9], [2, 18]))
    assert found["nats per token ↓"] == pytest.approx(1.2)
    assert found["perplexity ↓"] == pytest.approx(math.exp(1.2))
    assert found["bits per character ↓"] == pytest.approx(12 / math.log(2) / 20)


def test_chance_is_the_number_of_classes():
    chance = Perplexity().chance(table([1.0], [4], [4 * math.log(65)], [4]))
    assert chance["perplexity ↓"] == pytest.approx(65, rel=1e-5)
    assert "bits per character ↓" not in chance


def test_what_cannot_be_measured_is_said():
    with pytest.raises(SensoriumError, match="no token to predict"):
        Perplexity().measure(table([0.0], [0], [0.0], [1]))
    with pytest.raises(SensoriumError, match="'letters'"):
        Perplexity(unit="letters").measure(table([1.0], [1], [1.0], [1]))
    with pytest.raises(SensoriumError, match="lack the label 'characters'"):
        Perplexity(unit="characters").measure(table([1.0, 1.0], [1, 1], [1.0, 1.0], [1, None]))
