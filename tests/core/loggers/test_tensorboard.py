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
