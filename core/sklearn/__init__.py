"""Estimators of scikit-learn: encoders that are trained without labels, and classifiers and regressors on few labels.

They take part in `Pipeline`, `cross_val_score` and `GridSearchCV`: `clone`, `get_params`, `set_output` and pickling
work as for any other.
"""

from sensorium.sklearn.supervised import SSLClassifier, SSLRegressor
from sensorium.sklearn.transformer import SSLTransformer

__all__ = ["SSLClassifier", "SSLRegressor", "SSLTransformer"]
