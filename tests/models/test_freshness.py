"""Whether all is well, seen from one moment."""

from datetime import UTC, date, datetime

import pytest

from models.calendar import Calendar
from models.freshness import Freshness, concerns, due_session

XNYS = Calendar("XNYS")
# Wednesday's market opened again on Friday, after the holiday.
WELL = Freshness(
    due=date(2024, 7, 3), data_until=date(2024, 7, 3), decided_until=date(2024, 7, 3), scored=True,
    trained_until=date(2024, 6, 28),
)  # fmt: skip


def told(**changes: object) -> tuple[str, ...]:
    return concerns(WELL.model_copy(update=changes), XNYS, max_champion_age=60)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2024, 7, 5, 13, 29, tzinfo=UTC), date(2024, 7, 2)),
        (datetime(2024, 7, 5, 13, 30, tzinfo=UTC), date(2024, 7, 3)),
        (datetime(2024, 7, 7, 12, 0, tzinfo=UTC), date(2024, 7, 3)),
    ],
)
def test_a_night_is_due_when_the_exchange_opens_again(now, expected):
    assert due_session(now, XNYS) == expected


def test_when_everything_is_there_nothing_is_told():
    assert told() == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data_until": date(2024, 7, 1)}, "last bars are of 2024-07-01, 2 sessions behind"),
        ({"data_until": None}, "no bars yet"),
        ({"decided_until": date(2024, 7, 2)}, "that of 2024-07-02, 1 session ago"),
        ({"decided_until": None}, "No night was decided yet"),
        ({"trained_until": None}, "Nothing serves"),
        ({"trained_until": date(2024, 4, 1)}, "65 sessions ago; more than gate.max_champion_age_sessions = 60"),
        ({"scored": False}, "predictions for 2024-07-03 are not published"),
        ({"stopped": ("half.csv",)}, "Stopped and not mended: half.csv"),
    ],
)
def test_each_thing_that_is_missing_is_one_sentence_with_its_numbers(changes, said):
    (sentence,) = told(**changes)
    assert said in sentence


def test_a_champion_of_exactly_the_greatest_age_is_well():
    assert told(trained_until=XNYS.after(WELL.due, -60)) == ()


def test_bars_that_are_newer_than_what_is_due_are_no_concern():
    assert told(data_until=date(2024, 7, 5), decided_until=date(2024, 7, 5)) == ()
