"""The page of a run: what stands in it, and that nothing of it runs or is loaded."""

import re
import shutil

import pytest

import sensorium
from sensorium.errors import RunError
from tests import toys
from tests.core.reports.pages import HOSTILE, Page, report, samples_of, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [train(folder / name, seed) for seed, name in enumerate(("one", "two"))]


@pytest.fixture(autouse=True)
def _without_vega(monkeypatch):
    monkeypatch.setattr("sensorium.reports.page._vega", lambda: "window.vegaEmbed = null;")


def ids_of(page):
    return [section["id"] for section in page.of("section")]


def test_a_page_has_every_section_and_its_texts_run_nothing(runs, tmp_path):
    text = report(runs[0].folder, tmp_path / "page.html")
    page = Page(text)
    whole = "summary curves views tables map neighbors retrieval unreadable card versions"
    assert ids_of(page) == whole.split()
    assert page.of("title") == [{}]
    assert "pairs & more" in page.words
    said = [words for words in page.words if HOSTILE in words]
    assert HOSTILE in said  # a class of the table
    assert any("· class: " in words for words in said)  # a neighbor
    assert HOSTILE not in text
    assert [name for _, attributes in page.elements for name in attributes if name.startswith("on")] == []
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.of("img"))
    links = [link["href"] for link in (*page.of("link"), *page.of("a"))]
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    (policy,) = [meta["content"] for meta in page.of("meta") if "http-equiv" in meta]
    assert "default-src 'none'" in policy
    assert len(re.findall("'sha256-[^']+'", policy)) == 2  # no other program runs
    first, second = page.maps()
    assert (len(first), 20 < len(second) < 40) == (40, True)  # some lack the second modality
    assert {point["label"] for point in first} == {HOSTILE, "class 0", "class 2", "class 3"}
    assert all(point["image"].startswith("data:image/webp") for point in first)


def test_every_table_has_its_rows_and_a_chart_with_deviations(runs, tmp_path):
    page = Page(report(runs[0].folder, tmp_path / "page.html", records=0))
    assert "No records were asked for." in page.words
    assert {"accuracy", "knn", "retrieval", "chance", "untrained", "trained"} <= set(page.words)
    points = [spec["data"]["values"] for spec in page.data if "metric" in str(spec.get("data", {}))[:400]]
    rows = {(point["row"], point["metric"]) for values in points for point in values}
    assert ("trained", "accuracy") in rows
    matrix = [
        values for spec in page.data for values in [spec.get("data", {}).get("values", [{}])] if "share" in values[0]
    ]
    assert sum(cell["records"] for cell in matrix[0]) > 0
    assert matrix[0][0].keys() == {"label", "prediction", "records", "share"}


def test_a_run_that_failed_says_so_and_shows_what_there_is(runs, tmp_path):
    folder = tmp_path / "failed"
    shutil.copytree(runs[0].folder, folder)
    shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "evaluations")
    run = sensorium.api.reporting.Run.open(folder)
    run.update(state="failed")
    with open(run.log_file, "a", encoding="utf-8") as file:
        file.write("2026-01-01 10:00:00,000 WARNING features collapse <b>\n" * 2)
        file.write("2026-01-01 10:00:00,000 ERROR The disk is full: make room.\n")
    with open(run.metrics_file, "a", encoding="utf-8") as file:
        file.write('{"step": 99, "loss": NaN}\n{"step": 100, "lo')
    page = Page(report(folder))
    assert (folder / "report.html").exists()
    words = " ".join(page.words)
    assert re.search(r"This run failed at step \d+ of \d+: The disk is full: make room\.", words)
    assert "features collapse <b> (2 times)" in words
    assert "The run has not been evaluated" in words
    assert page.maps()  # of the last checkpoint


def test_a_run_whose_records_are_gone_says_so(runs, tmp_path):
    page = Page(report(runs[0].folder, tmp_path / "page.html", source=None))
    assert ids_of(page)[4] == "records"
    assert "No records are shown." in " ".join(page.words)
    sheets = [image["alt"] for image in page.of("img")]
    assert {"sheet-a-to-b", "sheet-b-to-a"} <= set(sheets)


def test_a_label_that_there_is_not_is_an_error(runs, tmp_path):
    with pytest.raises(RunError, match=r"no label 'clas'.*did you mean 'class'"):
        report(runs[0].folder, tmp_path / "page.html", label="clas")
    with pytest.raises(RunError, match="There is no projection 'tsne'"):
        report(runs[0].folder, tmp_path / "page.html", projection="tsne")


def test_a_page_of_another_ending_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(RunError, match=r"A page is a file of HTML: name one that ends in .html, not 'out.txt'"):
        sensorium.report(tmp_path / "missing", "out.txt")


def test_sounds_stand_in_the_page_once(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(toys.VectorModality, "sound", samples_of)
    page = Page(report(runs[0].folder, tmp_path / "page.html"))
    (sounds,) = [data for data in page.data if "$schema" not in data]
    players = [audio["data-sound"] for audio in page.of("audio")]
    assert set(players) == set(sounds)
    assert len(players) > len(sounds)
    assert all(uri.startswith("data:audio/wav;base64,UklGR") for uri in sounds.values())
    monkeypatch.setattr("sensorium.reports.records.SOUNDS", 20_000)
    few = report(runs[0].folder, tmp_path / "page.html")
    assert "sounds are left out, so that the page stays small" in few


def test_several_runs_stand_side_by_side(runs, tmp_path):
    folders = [run.folder for run in runs]
    with pytest.raises(RunError, match="Name the file"):
        sensorium.report(folders)
    text = sensorium.report(folders, tmp_path / "both.html").read_text()
    page = Page(text)
    assert ids_of(page) == ["summary", "curves", "tables"]
    assert {"seed", "0", "1", *map(str, folders)} <= set(page.words)
    lines = {value["line"] for spec in page.data for value in spec.get("data", {}).get("values", []) if "line" in value}
    assert set(map(str, folders)) <= lines


def test_missing_libraries_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr("sensorium.reports.page.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"jinja2, altair, vl-convert-python: run pip install 'sensorium\[report\]'"):
        sensorium.report(tmp_path)


def test_a_map_by_umap_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("sensorium.embeddings.projection.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'sensorium\[umap\]', or take the projection 'pca'"):
        sensorium.report(tmp_path, projection="umap")
