"""Outliers: records between the clusters of all others have the largest scores, by each method."""

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor

from sensorium.curation.outliers import METHODS, OutlierOptions, find_outliers
from sensorium.errors import SensoriumError
from tests.core.curation.planted import blobs, records


def planted(count=8):
    x, _ = blobs()
    strange = 2 * np.random.default_rng(9).standard_normal((count, x.shape[1]))
    return records(np.concatenate([x, strange]))


@pytest.mark.parametrize("method", METHODS)
def test_planted_outliers_have_the_largest_scores(method):
    found = find_outliers(planted(), OutlierOptions(method, share=8 / 208))
    hit = np.flatnonzero(found.is_outlier_M) >= 200
    assert hit.sum() >= (8 if method != "isolation-forest" else 5)
    assert found.is_outlier_M.sum() == 8
    again = find_outliers(planted(), OutlierOptions(method, share=8 / 208))
    assert (found.score_M == again.score_M).all()


def test_local_outlier_factors_are_those_of_scikit_learn():
    among = planted()
    expected = -LocalOutlierFactor(n_neighbors=10).fit(among.x_MD.numpy()).negative_outlier_factor_
    np.testing.assert_allclose(find_outliers(among, OutlierOptions("lof")).score_M, expected, rtol=1e-3)


def test_equal_records_do_not_stand_in_their_own_neighborhood():
    x = np.repeat(blobs(8)[0], 30, axis=0)
    found = find_outliers(records(x), OutlierOptions(k=5))
    assert (found.neighbors_MK != np.arange(len(x))[:, None]).all()
    assert found.score_M.max() < 1e-5


def test_a_method_that_is_not_there_is_named():
    with pytest.raises(SensoriumError, match=r"no method 'forest'.*isolation-forest"):
        OutlierOptions("forest")
