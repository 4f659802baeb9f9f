"""Curation as a person calls it: of a folder, of a run, and of a file of embeddings; files, sheets and errors."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import sensorium
from sensorium.cli.main import main
from sensorium.data.arrays import ArraysSource
from sensorium.errors import DataError, RunError, SensoriumError
from tests import toys


def smooth(rng):
    """Return an image of random blobs, which survives recompression."""
    small = Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    return small.resize((32, 32), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two parts: two of test stand in train too, recompressed and brightened; one of train twice."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    drawn = [smooth(rng) for _ in range(40)]
    for number, image in enumerate(drawn):
        path = root / ("test" if number < 8 else "train") / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        image.save(path)
    drawn[0].save(root / "train/copy00.jpg", quality=50)
    drawn[1].point(lambda value: min(255, value * 1.15)).save(root / "train/bright01.png")
    drawn[20].save(root / "train/copy20.jpg", quality=50)
    (root / "train/99.png").write_bytes(b"no image")
    return root


LEAKS = {"train/copy00.jpg": "test/00.png", "train/bright01.png": "test/01.png"}
READ = ["data.val=0", "data.workers=0", "data.max_bad=0.1"]


def test_leaks_of_a_folder_are_found_before_any_training(folder, tmp_path):
    found = sensorium.curate.duplicates(folder, tmp_path / "found.parquet", READ)
    assert found.statistics["leaks: records of test also in train"] == 2
    assert found.statistics["records to leave out"] == 3
    rows = {row["id"]: row for row in pq.read_table(tmp_path / "found.parquet").to_pylist()}
    assert len(rows) == 44
    assert {name for name, row in rows.items() if not row["keep"]} == {*LEAKS, "train/copy20.jpg"}
    assert {name: rows[name]["nearest"] for name in LEAKS} == LEAKS
    assert {name for name, row in rows.items() if row["leak"]} == set(LEAKS.values())
    assert rows["train/99.png"] == {
        **dict.fromkeys(["duplicates", "nearest", "cosine", "leak"]),
        "id": "train/99.png",
        "split": "train",
        "keep": True,
    }
    for suffix in (".png", ".similarities.png"):
        with Image.open((tmp_path / "found").with_suffix(suffix)) as sheet:
            assert sheet.width > 300


def test_what_is_kept_is_what_check_then_reads(folder, tmp_path):
    sensorium.curate.duplicates(folder, tmp_path / "found.parquet", READ)
    report = sensorium.check(folder, [*READ, f"data.select={tmp_path / 'found.parquet'}"])
    assert report.records == 41
    again = sensorium.curate.duplicates(folder, None, [*READ, f"data.select={tmp_path / 'found.parquet'}"])
    assert again.statistics["near-duplicate pairs"] == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of pairs whose modalities are in one space, and its records."""
    path = tmp_path_factory.mktemp("runs") / "run"
    recipe = toys.pair_recipe(evaluate={"evaluators": {}}) | {"train": {"epochs": 8, "accelerator": "cpu"}}
    sensorium.fit(recipe, source=toys.vectors(count=200), run_dir=path, extensions=toys.extensions())
    return path


TOYS = {"source": toys.vectors(count=200)}


def test_a_run_and_the_file_of_its_vectors_agree(run, tmp_path):
    handed = TOYS | {"extensions": toys.extensions()}
    by_run = sensorium.curate.outliers(run, None, modality="b", share=0.05, **handed)
    sensorium.embed(run, tmp_path / "vectors.parquet", space="features", **handed)
    by_file = sensorium.curate.outliers(tmp_path / "vectors.parquet", None, modality="b", share=0.05)
    both = sensorium.curate.outliers(
        run, None, modality="b", share=0.05, vectors=tmp_path / "vectors.parquet", **handed
    )
    for other in (by_file, both):
        assert other.rows["outlier"].to_pylist() == by_run.rows["outlier"].to_pylist()
        assert other.rows["split"].to_pylist() == by_run.rows["split"].to_pylist()
        np.testing.assert_allclose(other.rows["score"].to_numpy(), by_run.rows["score"].to_numpy(), atol=1e-5)
    assert by_run.statistics["outliers"] == 10
    with pytest.raises(RunError, match=r"vectors\.parquet has records of its own and takes no changes"):
        sensorium.curate.outliers(tmp_path / "vectors.parquet", None, ["data.select=ids.txt"])


def test_a_file_of_vectors_says_its_space(run, tmp_path):
    handed = TOYS | {"extensions": toys.extensions()}
    file = tmp_path / "joint.parquet"
    sensorium.embed(run, file, space="embedding", **handed)
    by_file = sensorium.curate.outliers(run, None, share=0.05, vectors=file, **handed)
    in_space = sensorium.curate.outliers(run, None, share=0.05, space="embedding", **handed)
    assert by_file.about == in_space.about
    np.testing.assert_allclose(by_file.rows["score"].to_numpy(), in_space.rows["score"].to_numpy(), atol=1e-5)
    for target, options in ((run, {"vectors": file} | handed), (file, {})):
        with pytest.raises(RunError, match=r"joint.parquet' holds the space 'embedding', not 'features'"):
            sensorium.curate.outliers(target, None, share=0.05, space="features", **options)


def test_prompts_and_labels_name_clusters(run, tmp_path):
    handed = TOYS | {"extensions": toys.extensions()}
    by_label = sensorium.curate.clusters(run, tmp_path / "clusters.parquet", count=4, **handed)
    assert by_label.statistics["mean purity of names"] > 0.9
    assert Image.open(tmp_path / "clusters.png").width > 300
    source = TOYS["source"]
    of_class = [next(i for i in range(200) if source.key(i).labels["class"] == k) for k in range(4)]
    prompts = [source[i].values["b"] for i in of_class]
    named = sensorium.curate.clusters(run, None, count=4, prompts=prompts, **handed)
    classes = [source.key(i).labels["class"] for i in range(200)]
    written = sensorium.curate.clusters(run, None, count=4, prompts=", ".join(prompts), **handed)
    (tmp_path / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8-sig")
    of_file = sensorium.curate.clusters(run, None, count=4, prompts=tmp_path / "prompts.txt", **handed)
    assert written.rows.equals(named.rows)
    assert of_file.rows.equals(named.rows)
    right = [prompts.index(name) == k for name, k in zip(named.rows["name"].to_pylist(), classes, strict=True)]
    assert np.mean(right) > 0.8


def test_a_sample_of_train_leaves_the_other_parts_whole(run, tmp_path):
    found = sensorium.curate.coverage(run, tmp_path / "chosen.parquet", count=12, **TOYS, extensions=toys.extensions())
    rows = found.rows.to_pylist()
    assert sum(row["keep"] for row in rows if row["split"] == "train") == 12
    assert all(row["keep"] for row in rows if row["split"] != "train")
    assert sorted(row["order"] for row in rows if row["order"]) == list(range(1, 13))
    assert (
        found.statistics["largest distance to a chosen record"]
        < found.statistics["largest distance, of a random sample"]
    )
    assert {"class", "records", "chosen"} == set(found.table[0])


def test_the_command_prints_what_the_function_returns(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["curate", "duplicates", str(folder), str(tmp_path / "found.parquet"), *READ, "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["statistics"]["leaks: records of test also in train"] == 2
    with pytest.raises(SystemExit):
        main(["curate", "clusters", str(folder), str(tmp_path / "found.parquet"), *READ, "--count", "3"])
    printed = capsys.readouterr().out
    assert "compared by" in printed
    assert "found.png written." in printed


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c, folder: c.duplicates(folder, "out.csv"), "write out.parquet, not 'out.csv'"),
        (lambda c, folder: c.duplicates(folder, None, READ, modality="audio"), "no modality 'audio' to compare"),
        (lambda c, folder: c.duplicates(folder, None, READ, part="tran"), "no part 'tran'.*train"),
        (lambda c, folder: c.duplicates(folder, None, READ, vectors="v.parquet"), "stands for the encoder of a run"),
        (lambda c, folder: c.clusters(folder, None, READ, prompts=["a", "b"]), "name its run folder"),
        (lambda c, folder: c.clusters(folder, None, READ, prompts=["a"], space="features"), "'embedding'"),
        (lambda c, folder: c.clusters(folder, None, READ, label="clas"), "no label 'clas'"),
        (lambda c, folder: c.coverage(folder, None, READ, count=10_000), "ask for fewer"),
        (lambda c, folder: c.outliers(folder, None, READ, share=1.5), "share"),
    ],
)
def test_what_cannot_be_curated_is_said_in_a_sentence(folder, call, said):
    with pytest.raises((RunError, SensoriumError), match=said):
        call(sensorium.curate, folder)


@pytest.mark.parametrize(
    ("prompts", "said"),
    [(", ".join(f"a photo of {n}" for n in range(99)), "name its run folder"), ("none.txt", "no file of prompts")],
)
def test_prompts_of_a_command_are_texts_or_a_file(folder, prompts, said, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["curate", "clusters", str(folder), str(tmp_path / "found.parquet"), *READ, "--prompts", prompts])
    assert said in capsys.readouterr().err


def test_nothing_that_is_read_is_replaced_and_no_image_of_another(tmp_path):
    texts, beside = tmp_path / "texts.parquet", tmp_path / "found.png"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(20)]}), texts)
    Image.new("RGB", (4, 4)).save(beside)
    before = {path: path.read_bytes() for path in (texts, beside)}
    with pytest.raises(RunError, match=r"texts\.parquet' is read by this very command"):
        sensorium.curate.outliers(texts, texts)
    with pytest.raises(RunError, match=r"texts\.parquet' is read by this very command"):
        sensorium.curate.outliers("parquet", texts, [f"data.source.path={texts}"])
    for path in (tmp_path, tmp_path / "*.parquet"):
        with pytest.raises(RunError, match=r"texts\.parquet' is read by this very command"):
            sensorium.curate.outliers("parquet", texts, [f"data.source.path={path}"])
    sensorium.curate.duplicates(texts, tmp_path / "kept.parquet")
    with pytest.raises(RunError, match=r"kept\.parquet' is read by this very command"):
        sensorium.curate.outliers(texts, tmp_path / "kept.parquet", [f"data.select={tmp_path / 'kept.parquet'}"])
    with pytest.raises(RunError, match=r"found\.png' is there already, and no contact sheet"):
        sensorium.curate.outliers(texts, tmp_path / "found.parquet")
    assert {path: path.read_bytes() for path in before} == before
    found = [sensorium.curate.outliers(texts, tmp_path / "out.parquet") for _ in range(2)]
    assert [path.name for path in found[1].files] == ["out.parquet", "out.png"]


def test_one_record_is_nothing_to_compare():
    source = ArraysSource({"text": ["one", None]})
    with pytest.raises(DataError, match="nothing to compare"):
        sensorium.curate.duplicates(None, None, ["data.val=0", "data.test=0"], source=source)
