"""Charts: what is counted, colored and named in them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sensorium.evaluation.tables import Metric, ResultsRow, ResultsTable
from sensorium.reports.charts import GRAY, NONE, OTHER, confusion, curves, embedding_map, row_colors, shown_labels
from sensorium.reports.curves import Panel
from sensorium.reports.tables import shown_tables


def values_of(spec):
    found = spec["data"] if "data" in spec else spec["layer"][0]["data"]
    return found["values"]


@pytest.mark.parametrize(("value", "tick"), [(3.6911, "3.6911"), (3e-4, "0.0003"), (12345.0, "12,345")])
def test_the_tick_of_a_single_point_is_its_value(value, tick):
    vl_convert = pytest.importorskip("vl_convert")
    drawn = vl_convert.vegalite_to_svg(curves(Panel("Loss", {"Loss": [(4, value)]})) | {"width": 200})
    assert f">{tick}</text>" in drawn


def test_a_confusion_matrix_counts_every_pair_of_classes():
    spec = confusion({("a", "a"): 2, ("a", "c"): 1, ("b", "b"): 1})
    cells = {(cell["label"], cell["prediction"]): (cell["records"], cell["share"]) for cell in values_of(spec)}
    assert len(cells) == 9
    assert cells["a", "a"] == (2, 2 / 3)
    assert cells["a", "c"] == (1, 1 / 3)
    assert cells["c", "a"] == (0, 0.0)


def test_the_rarest_of_many_classes_are_others_and_many_numbers_a_scale():
    labels = [*[f"class {i}" for i in range(30)], *[f"class {i}" for i in range(10)], None]
    shown = shown_labels(labels)
    assert shown[-1] == NONE
    assert set(shown[30:40]) == {f"class {i}" for i in range(10)}
    assert shown.count(OTHER) == 11
    assert shown_labels([1, 0, None, 1]) == ["1", "0", NONE, "1"]
    numbers = [*np.linspace(0, 1, 50).tolist(), None]
    assert shown_labels(numbers) == numbers
    assert shown_labels([None, None]) is None


def test_a_map_has_colors_for_classes_and_none_without_labels():
    point = {"x": 0.0, "y": 1.0, "id": "1", "words": "w"}
    spec = embedding_map([point | {"label": name} for name in ("b", OTHER)], "kind", ["b", OTHER, "a"])
    color = spec["encoding"]["color"]
    assert color["scale"]["domain"] == ["a", "b", OTHER], "of all maps of a page"
    assert (color["title"], len(set(color["scale"]["range"]))) == ("kind", 3)
    assert "color" not in embedding_map([point], None)["encoding"]


def test_a_map_of_numbers_shows_points_without_one():
    point = {"x": 0.0, "y": 1.0, "id": "1", "words": "w"}
    unknown, known = embedding_map([point | {"label": 0.5}, point | {"label": None}], "n")["layer"]
    assert known["encoding"]["color"]["type"] == "quantitative"
    assert unknown["encoding"]["color"] == {"value": GRAY}
    assert unknown["transform"] == [{"filter": "!isValid(datum.label)"}]


def test_a_row_has_one_color_in_all_tables():
    colors = {}
    for rows in (["chance", "baseline", "untrained", "trained"], ["untrained", "other", "trained"], ["baseline"]):
        for row, color in zip(rows, row_colors(rows), strict=True):
            assert colors.setdefault(row, color) == color
    assert len(set(colors.values())) == len(colors)
    assert len(row_colors([f"model {i}" for i in range(30)])) == 30


def table(**metrics):
    rows = [ResultsRow("chance", {"accuracy": Metric([[0.25]])})]
    rows += [ResultsRow("trained", {name: Metric(scores) for name, scores in metrics.items()})]
    return ResultsTable("knn", rows, "the given split", "none", "abc", (8, 4))


def test_metrics_from_0_to_1_share_a_chart_with_deviations_and_others_have_their_own(tmp_path):
    made = table(accuracy=[[0.5], [0.7]], F1=[[0.4]], RMSE=[[12.0, 14.0]], rank=[[1.0]])
    (shown,) = shown_tables({"knn": made}, tmp_path)
    assert [title for title, _ in shown.charts] == ["", "RMSE", "rank"]
    points = {(point["row"], point["metric"]): point for point in values_of(shown.charts[0][1])}
    assert points.keys() == {("chance", "accuracy"), ("trained", "accuracy"), ("trained", "F1")}
    spread = np.std([0.5, 0.7], ddof=1)
    assert points["trained", "accuracy"]["low"] == 0.6 - spread
    assert points["trained", "accuracy"]["high"] == 0.6 + spread
    assert points["chance", "accuracy"]["low"] == points["chance", "accuracy"]["high"] == 0.25
    assert shown.cells[0] == ["", "accuracy", "F1", "RMSE", "rank"]
    assert shown.cells[2][1] == str(made.row("trained").metrics["accuracy"])
    assert shown.cells[1][2:] == ["–", "–", "–"]
    assert shown.predictions is None


def test_predicted_numbers_are_points_and_classes_a_matrix(tmp_path):
    def written(labels, predictions):
        columns = {"row": ["untrained", "trained", "trained"], "label": labels, "prediction": predictions}
        pq.write_table(pa.table(columns), tmp_path / "knn-predictions.parquet")
        (shown,) = shown_tables({"knn": table(accuracy=[[1.0]])}, tmp_path)
        return shown.predictions

    title, spec = written([9.0, 1.0, 2.0], [9.0, 1.5, 2.5])
    assert title == "Predictions of the row trained"
    assert spec["layer"][1]["data"]["values"] == [{"label": 1.0, "prediction": 1.5}, {"label": 2.0, "prediction": 2.5}]
    title, spec = written(["a", "b", "c"], ["a", "b", "b"])
    assert title == "Confusion matrix of the row trained, 2 predictions"
    assert {cell["label"] for cell in values_of(spec)} == {"b", "c"}
