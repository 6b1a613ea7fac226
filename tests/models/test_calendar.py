"""Sessions, and what a night of a session may know."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from models.calendar import ALWAYS_OPEN, Calendar
from models.errors import ConfigError

XNYS = Calendar("XNYS")


def test_a_night_may_know_what_was_known_at_the_next_open():
    assert XNYS.as_of(date(2024, 7, 3)) == datetime(2024, 7, 5, 13, 30, tzinfo=UTC)


def test_a_market_that_never_closes_waits_for_its_cutoff():
    assert Calendar(ALWAYS_OPEN, cutoff_hours=6).as_of(date(2024, 7, 4)) == datetime(2024, 7, 5, 6, tzinfo=UTC)


def test_a_market_that_opens_as_it_closes_waits_for_its_cutoff_as_well():
    assert Calendar("24/5", cutoff_hours=6).as_of(date(2024, 7, 4)) == datetime(2024, 7, 5, 6, tzinfo=UTC)
    assert Calendar("24/5", cutoff_hours=6).as_of(date(2024, 7, 5)) == datetime(2024, 7, 8, tzinfo=UTC)
    assert Calendar("CMES", cutoff_hours=6).as_of(date(2024, 7, 9)) == datetime(2024, 7, 10, 4, tzinfo=UTC)


def test_minutes_of_trading_leave_early_closes_and_lunch_out():
    days = np.array(["2024-07-02", "2024-07-03", "2024-07-04"], "datetime64[D]")
    np.testing.assert_array_equal(XNYS.hours(days).minutes, [390, 210, np.nan])
    hong_kong = Calendar("XHKG").hours(days)
    np.testing.assert_array_equal(hong_kong.minutes, [330, 330, 330])
    lunch = hong_kong.minutes_of(hong_kong.break_starts, hong_kong.break_ends)
    np.testing.assert_array_equal(lunch, [0, 0, 0])


def test_an_early_close_is_known():
    assert XNYS.closes(np.array(["2024-07-03"], "datetime64[D]"))[0] == np.datetime64("2024-07-03T17:00")


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (date(2024, 7, 4), "for example 2024-07-03"),
        (date(1900, 1, 2), "reaches from 1970"),
        (date(2999, 1, 2), "to 20"),
    ],
)
def test_a_day_that_can_have_no_night_is_refused_and_the_message_names_one_that_can(day, said):
    with pytest.raises(ConfigError, match=said):
        XNYS.refuse_other_days(day)


def test_the_calendars_last_session_has_no_night_since_nobody_knows_the_next_open():
    with pytest.raises(ConfigError, match="outside the calendar"):
        XNYS.as_of(XNYS.sessions[-1].item())
