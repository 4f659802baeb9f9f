"""Evaluation of any features: beside chance and baselines, by evaluators that select on the train part alone."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.random_projection import GaussianRandomProjection

from sensorium import evaluate_features

pixels, y = load_digits(return_X_y=True)
pixels = pixels.astype(np.float32)
x_train, x_test, y_train, y_test = train_test_split(pixels, y, test_size=0.3, random_state=0, stratify=y)

features = PCA(16, whiten=True, random_state=0).fit(x_train)  # learned on the train part: yours, too, should be
random = GaussianRandomProjection(16, random_state=0).fit(x_train)
tables = evaluate_features(
    features.transform(x_train),
    y_train,
    features.transform(x_test),
    y_test,
    evaluators={
        "knn": {"k": 5},
        "linear": {},
        "folds": {"name": "knn", "protocol": {"name": "kfold", "folds": 5, "repeats": 2}},
    },
    baselines={
        "raw pixels": (x_train, x_test),
        "random projection": (random.transform(x_train), random.transform(x_test)),
    },
    name="PCA",
)
for name, table in tables.items():
    print(f"{name}: {table.protocol}; selection: {table.selection}")
    for row in table.rows:
        print(f"  {row.name:18} accuracy {row.metrics['accuracy'].mean:.3f}")
