"""Maps of embeddings: the columns of Embedding Atlas, and the files of TensorBoard's projector."""

from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

import sensorium
from sensorium.embeddings import projector as module
from sensorium.embeddings.atlas import atlas_options
from sensorium.embeddings.projection import project
from sensorium.embeddings.table import stored_names
from sensorium.errors import RunError
from tests import toys


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toys.train_pairs(tmp_path_factory.mktemp("atlas") / "run")


def embed(run, out, **options):
    known = {"source": toys.incomplete_pairs(), "extensions": toys.extensions(), "device": "cpu"}
    return sensorium.embed(run, out, ["evaluate.batch=8", "data.workers=0"], **known, **options)


def test_a_file_with_a_map_is_the_same_file_with_more_columns(run, tmp_path):
    embed(run, tmp_path / "plain.parquet")
    embed(run, tmp_path / "map.parquet", atlas=True)
    plain, mapped = (sensorium.EmbeddingFile(tmp_path / f"{name}.parquet") for name in ("plain", "map"))
    assert (plain.modalities, plain.labels, plain.about) == (mapped.modalities, mapped.labels, mapped.about)
    for (rows, x), (more_rows, more_x) in zip(plain.vectors("b"), mapped.vectors("b"), strict=True):
        np.testing.assert_array_equal(rows, more_rows)
        np.testing.assert_array_equal(x, more_x)
    assert plain.summaries(range(120)) == mapped.summaries(range(120))
    stored = pq.read_table(tmp_path / "map.parquet")
    assert not [name for name in stored.column_names if "." in name]  # which DuckDB would take for a struct's field
    assert atlas_options(tmp_path / "map.parquet") == (
        "--x x --y y --neighbors neighbors --image preview_a --text caption_a"
    )


def test_coordinates_neighbors_and_pictures_are_those_of_the_row(run, tmp_path):
    embed(run, tmp_path / "map.parquet", atlas=True)
    rows = pq.read_table(tmp_path / "map.parquet").to_pylist()
    file = sensorium.EmbeddingFile(tmp_path / "map.parquet")
    has = np.concatenate([numbers for numbers, _ in file.vectors("b")])
    x_MD = np.concatenate([x for _, x in file.vectors("b")])
    x_MD /= np.linalg.norm(x_MD, axis=1, keepdims=True)
    assert 0 < len(has) < len(rows)
    place = {row: at for at, row in enumerate(has.tolist())}
    for row, record in enumerate(rows):
        if row not in place:
            assert record["x_b"] is record["neighbors_b"] is record["preview_b"] is None
            continue
        near, cosines = record["neighbors_b"], x_MD @ x_MD[place[row]]
        assert row not in near["ids"]
        found = [1 - cosines[place[other]] for other in near["ids"]]
        np.testing.assert_allclose(near["distances"], found, atol=1e-5)
        best = np.sort(1 - np.delete(cosines, place[row]))[:10]
        np.testing.assert_allclose(near["distances"], best, atol=1e-5)
        assert Image.open(BytesIO(record["preview_b"]["bytes"])).format == "JPEG"
    xy_M2 = np.array([[rows[row]["x_b"], rows[row]["y_b"]] for row in has])
    np.testing.assert_allclose(xy_M2, project(x_MD, "pca")[0], atol=1e-5)


UMAP_COMPILES = pytest.param("umap", marks=pytest.mark.slow)  # half a minute


@pytest.mark.parametrize("name", ["pca", UMAP_COMPILES])
def test_a_projection_keeps_what_is_near_near(name):
    if name == "umap":
        pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    centers_GD, group_N = np.eye(3, 16) * 10, np.arange(90) % 3
    x_ND = centers_GD[group_N] + rng.normal(size=(90, 16))
    xy_N2, said = project(x_ND, name)
    means = np.stack([xy_N2[group_N == group].mean(0) for group in range(3)])
    nearest = np.linalg.norm(xy_N2[:, None] - means, axis=2).argmin(1)
    assert (nearest == group_N).mean() > 0.95
    np.testing.assert_array_equal(xy_N2, project(x_ND, name)[0])
    assert said.startswith("UMAP of 15" if name == "umap" else "The first two principal components")
    assert project(x_ND[:2], name)[0].shape == project(x_ND[:2, :1], name)[0].shape == (2, 2)


def test_the_projector_reads_vectors_with_what_they_are(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 50)
    embed(run, tmp_path / "v.parquet", projector=tmp_path / "projector")
    config = text_format.Parse((tmp_path / "projector" / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [found.tensor_name for found in config.embeddings] == ["a:00000", "b:00000"]
    file = sensorium.EmbeddingFile(tmp_path / "v.parquet")
    ids = {id for id, _ in file.summaries(range(120))}
    for found in config.embeddings:
        vectors = np.loadtxt(tmp_path / "projector" / found.tensor_path, delimiter="\t")
        header, *lines = (tmp_path / "projector" / found.metadata_path).read_text().rstrip("\n").split("\n")
        assert header.split("\t")[:3] == ["id", "split", "class"]
        assert len(lines) == len(vectors) <= 50
        assert {line.split("\t")[0] for line in lines} <= ids
        side = int(np.ceil(np.sqrt(len(vectors)))) * 64
        assert Image.open(tmp_path / "projector" / found.sprite.image_path).size == (side, side)
    with pytest.raises(RunError, match="has something in it: name another one"):
        embed(run, tmp_path / "v.parquet", projector=tmp_path / "projector")


def test_what_cannot_be_mapped_is_refused_before_anything_is_read(run, tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"A map is made of a .parquet file, not '.*v.npz'"):
        embed(run, tmp_path / "v.npz", atlas=True)
    with pytest.raises(RunError, match="There is no projection 'tsne'"):
        embed(run, tmp_path / "v.parquet", atlas=True, projection="tsne")
    monkeypatch.setattr("sensorium.embeddings.projection.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'sensorium\[umap\]'"):
        embed(run, tmp_path / "v.parquet", atlas=True, projection="umap")


def test_names_that_differ_by_a_dot_alone_are_kept_apart():
    names = ["id", "label.a.b", "label.a_b", "label_a_b"]
    stored = stored_names(names)
    assert list(stored) == names
    assert len(set(stored.values())) == 4
    assert not any("." in name for name in stored.values())
