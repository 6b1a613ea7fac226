"""The seconds of a night by stage."""

import time

from models.timings import Timings


def timed() -> Timings:
    timings = Timings()
    with timings("train"):
        time.sleep(0.02)
    return timings


def test_a_part_is_told_apart_from_its_stage():
    timings = timed()
    timings.split("train", "folds", 0.01)
    assert timings.seconds["folds"] == 0.01
    assert timings.seconds["train"] >= 0.009


def test_a_part_that_took_longer_than_its_stage_was_done_in_an_earlier_try():
    timings = timed()
    timings.split("train", "folds", 300.0)
    assert "folds" not in timings.seconds
    assert timings.seconds["train"] >= 0.019
