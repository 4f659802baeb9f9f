import csv

from sensorium.loggers.csv_file import CSVFile


def rows(folder):
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_that_come_later_are_new_columns(tmp_path):
    logger = CSVFile()
    logger.start(tmp_path, {}, 0)
    logger.log(1, {"loss": 2.0})
    logger.log(2, {"loss": 1.0, "lr": 0.1})
    logger.log(2, {"val/knn/accuracy": 0.5})
    logger.log(3, {"loss": 0.5, "lr": 0.1})
    logger.close("finished")
    empty = {"step": "", "loss": "", "lr": "", "val/knn/accuracy": ""}
    assert rows(tmp_path) == [
        empty | {"step": "1", "loss": "2.0"},
        empty | {"step": "2", "loss": "1.0", "lr": "0.1"},
        empty | {"step": "2", "val/knn/accuracy": "0.5"},
        empty | {"step": "3", "loss": "0.5", "lr": "0.1"},
    ]


def test_a_resumed_run_drops_later_rows_and_a_new_one_begins_anew(tmp_path):
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        logger = CSVFile()
        logger.start(tmp_path, {}, start)
        for step in steps:
            logger.log(step, {"loss": step + start / 10})
        logger.close("finished")
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        *(("1", "1.0"), ("2", "2.0"), ("3", "3.2"), ("4", "4.2"))
    ]
    logger = CSVFile()
    logger.start(tmp_path, {}, 0)
    logger.close("finished")
    assert rows(tmp_path) == []
