"""The kinds of target clusters, by name."""

from __future__ import annotations

from sensorium.errors import RecipeError
from sensorium.plugins.masked.cluster_targets import ClusterTargets
from sensorium.plugins.masked.k_means import KMeans, KMeansTargets
from sensorium.plugins.masked.online_clusters import Online, OnlineTargets
from sensorium.plugins.masked.random_projection import RandomProjection, RandomProjectionTargets


def targets_of(
    kind: str,
    clusters: int,
    random_projection: RandomProjection | None,
    k_means: KMeans | None,
    online: Online | None,
) -> ClusterTargets:
    """Return the targets of a kind, with its options or their defaults.

    Raises:
        RecipeError: when there are options of another kind.
    """
    given = {"random-projection": random_projection, "k-means": k_means, "online": online}
    if others := [name.replace("-", "_") for name, options in given.items() if options is not None and name != kind]:
        raise RecipeError(
            f"The objective 'masked-clusters' has the targets '{kind}', and was given options of others "
            f"({', '.join(others)}): leave them out, or set objective.targets."
        )
    if kind == "random-projection":
        return RandomProjectionTargets(clusters, random_projection or RandomProjection())
    if kind == "k-means":
        return KMeansTargets(clusters, k_means or KMeans())
    return OnlineTargets(clusters, online or Online())
