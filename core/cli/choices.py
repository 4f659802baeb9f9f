"""Words that an option of several commands takes."""

from enum import StrEnum


class Part(StrEnum):
    """A part of the split, or all of it."""

    train = "train"
    val = "val"
    test = "test"
    all = "all"


class Space(StrEnum):
    """A space of features."""

    embedding = "embedding"
    features = "features"
    layers = "layers"
    tokens = "tokens"


class Choice(StrEnum):
    """How mined negatives are chosen among the candidates."""

    hardest = "hardest"
    random = "random"


class Index(StrEnum):
    """A search index."""

    auto = "auto"
    exact = "exact"
    ivf = "ivf"
    hnsw = "hnsw"


class IndexKind(StrEnum):
    """How an index of records is searched."""

    auto = "auto"
    exact = "exact"
    ivf = "ivf"


class Projection(StrEnum):
    """How vectors become a map."""

    pca = "pca"
    umap = "umap"


class Form(StrEnum):
    """What packed records are written as."""

    lance = "lance"
    webdataset = "webdataset"
    parquet = "parquet"
