from types import SimpleNamespace

from sensorium.loggers.tensorboard import TensorBoard


def test_events_have_the_same_figures_and_a_resume_hides_later_ones(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, steps in ((0, (1, 2, 3)), (2, (3,))):
        logger = TensorBoard()
        logger.start(tmp_path, {}, start)
        for step in steps:
            logger.log(step, {"loss": step + start})
        logger.close("finished")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 5.0)]


def test_files_of_one_second_are_read_in_the_order_they_were_written(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    # The writer's count ends the name: from the tenth on it has one more digit, and sorts before the ninth.
    monkeypatch.setattr(event_file_writer, "_global_uid", SimpleNamespace(get=iter((9, 10)).__next__))
    for start in (0, 1):
        logger = TensorBoard()
        logger.start(tmp_path, {}, start)
        logger.log(2, {"loss": float(start)})
        logger.close("finished")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(2, 1.0)]
