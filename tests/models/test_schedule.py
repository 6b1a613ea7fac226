"""Which scheduled nights run after an outage, and when a night is given up."""

from datetime import UTC, date, datetime, timedelta

import pytest

from models.calendar import ALWAYS_OPEN, Calendar
from models.schedule import deadline, planned_night

XNYS = Calendar("XNYS")
MONDAY, TUESDAY, WEDNESDAY, HOLIDAY, FRIDAY = (datetime(2024, 7, day, 22, 30, tzinfo=UTC) for day in (1, 2, 3, 4, 5))
"""18:30 at the exchange."""


def runs(policy: str, now: datetime, *planned: datetime) -> list[int]:
    """Days of the nights that these planned runs become."""
    nights = [planned_night(one, now, policy, XNYS) for one in planned]
    return [night.session.day for night in nights if night.skip is None]


@pytest.mark.parametrize("policy", ["latest", "all", "none"])
def test_a_night_that_starts_on_time_runs_under_every_policy(policy):
    assert runs(policy, MONDAY + timedelta(minutes=3), MONDAY) == [1]


@pytest.mark.parametrize("policy", ["latest", "all", "none"])
def test_a_day_without_a_session_has_no_night_under_any_policy(policy):
    assert "no session of XNYS" in planned_night(HOLIDAY, HOLIDAY, policy, XNYS).skip


@pytest.mark.parametrize(("policy", "expected"), [("latest", [3, 3, 3]), ("all", [1, 2, 3]), ("none", [])])
def test_after_an_outage_over_three_nights_the_policy_decides_which_run(policy, expected):
    back = datetime(2024, 7, 4, 15, tzinfo=UTC)  # the morning of the holiday; the next open is on the fifth
    planned = (MONDAY, TUESDAY, WEDNESDAY)
    assert runs(policy, back, *planned) == (expected or [3]), "Wednesday's night is still in time until Friday's open"
    after_the_open = datetime(2024, 7, 5, 14, tzinfo=UTC)
    assert runs(policy, after_the_open, *planned) == expected


def test_after_an_outage_longer_than_any_plan_a_missed_run_stands_in_for_the_newest_night():
    a_week_later = datetime(2024, 7, 15, 14, tzinfo=UTC)
    assert runs("latest", a_week_later, MONDAY) == [12]


def test_the_newest_night_is_the_one_whose_hour_has_come():
    before_its_hour, at_its_hour = FRIDAY - timedelta(minutes=1), FRIDAY
    assert runs("latest", before_its_hour, WEDNESDAY) == [3]
    assert runs("latest", at_its_hour, WEDNESDAY, FRIDAY) == [5, 5]


def test_the_hour_is_that_of_the_exchange_also_when_its_clocks_change():
    friday, monday = datetime(2024, 11, 1, 22, 30, tzinfo=UTC), datetime(2024, 11, 4, 23, 30, tzinfo=UTC)
    assert runs("latest", monday - timedelta(minutes=1), friday) == [1]
    assert runs("latest", monday, friday) == [4]


SESSION = date(2024, 7, 3)
STARTED = datetime(2024, 7, 3, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("must_finish_by", "expected"),
    [
        ("next_open", datetime(2024, 7, 5, 13, 30, tzinfo=UTC)),
        ("08:30", datetime(2024, 7, 4, 12, 30, tzinfo=UTC)),
        ("23:00", datetime(2024, 7, 4, 3, 0, tzinfo=UTC)),
        ("none", None),
    ],
)
def test_a_night_is_given_up_at_the_next_open_or_at_a_time_of_day(must_finish_by, expected):
    assert deadline(SESSION, must_finish_by, STARTED, XNYS) == expected


def test_a_night_that_begins_after_its_deadline_has_passed_it():
    begun = datetime(2024, 7, 4, 13, 0, tzinfo=UTC)
    assert deadline(SESSION, "08:30", begun, XNYS) == datetime(2024, 7, 4, 12, 30, tzinfo=UTC)


def test_a_replay_of_a_past_session_has_no_deadline():
    assert deadline(SESSION, "next_open", datetime(2024, 7, 5, 13, 30, tzinfo=UTC), XNYS) is None


def test_a_market_that_never_closes_has_until_its_cutoff():
    latest = deadline(date(2024, 7, 4), "next_open", datetime(2024, 7, 5, 1, tzinfo=UTC), Calendar(ALWAYS_OPEN))
    assert latest == datetime(2024, 7, 5, 6, tzinfo=UTC)
