"""How numbers are written, and that a check never shows a value and a bound that look equal when they are not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.notation import ABSENT, count, duration, fixed, flip, percent, shortfall, significant, value_and_bound
from models.records import Check, above, at_least, at_most, within


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (60.0, "60"),
        (122_574.0, "122,574"),
        (0.5213, "0.5213"),
        (-0.0021, "−0.0021"),
        (1.25e-7, "1.25 × 10⁻⁷"),
        (math.nan, ABSENT),
        (None, ABSENT),
        (-math.inf, "−∞"),
    ],
)
def test_a_number_of_unknown_size_stays_readable(value, written):
    assert significant(value) == written


def test_a_missing_number_is_a_dash_in_every_form():
    assert {count(None), fixed(math.nan), percent(None), significant(None)} == {ABSENT}


def test_seconds_become_minutes_only_when_there_are_minutes():
    assert (duration(9.44), duration(125)) == ("9.4 s", "2 min 05 s")


@given(st.floats(1e-9, 1e6), st.floats(1e-9, 0.5))
def test_a_check_that_just_fails_shows_a_value_unlike_its_bound(bound, gap):
    shown, limit = value_and_bound(at_least("c", "health", bound * (1 - gap), bound, "why"))
    assert limit.removeprefix("min ") != shown


@pytest.mark.parametrize(
    ("check", "limit"),
    [
        (at_least("c", "health", 0.7, 0.5, ""), "min 0.5"),
        (above("c", "health", 0.4, 0.5, ""), "min 0.5"),
        (at_most("c", "health", 0.4, 0.5, ""), "max 0.5"),
        (at_most("c", "health", 0.7, 0.5, ""), "max 0.5"),
        (at_most("c", "health", math.nan, 0.5, ""), "max 0.5"),
        (within("c", "health", 0.7, (0.8, 1.25), ""), "0.8 … 1.25"),
    ],
)
def test_the_bound_says_on_which_side_of_it_a_value_passes(check, limit):
    assert value_and_bound(check)[1] == limit


def test_a_range_is_missed_by_the_distance_to_its_nearer_end():
    assert shortfall(within("c", "health", 1.5, (0.8, 1.25), "")) == "0.25"


def test_a_check_without_a_number_is_not_missed_by_any():
    assert shortfall(Check(name="c", group="skill", value=None, bound=None, passed=False, why="")) is None


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (at_least("c", "health", 0.4, 0.5, ""), "+0.1 would have passed"),
        (at_least("c", "health", 0.49688, 0.5, ""), "+0.00312 would have passed"),
        (at_least("c", "health", 0.4968765, 0.5, ""), "+0.00313 would have passed"),
        (above("c", "health", 0.4, 0.5, ""), "more than +0.1 would have passed"),
        (above("c", "health", 0.5, 0.5, ""), "anything above 0.5 would have passed"),
        (above("c", "champion", -3, 0, ""), "more than +3 would have passed"),
        (at_most("c", "skill", 1.0391, 1.02, ""), "−0.0191 would have passed"),
        (within("c", "health", 1.5, (0.8, 1.25), ""), "−0.25 would have passed"),
        (within("c", "health", 0.1, (0.8, 1.25), ""), "+0.7 would have passed"),
        (within("c", "health", 0.9, (0.8, 1.25), ""), None),
        (at_most("c", "health", math.nan, 0.5, ""), None),
        (Check(name="c", group="skill", value=0.4, bound=0.5, passed=False, why=""), "about +0.1 would have passed"),
    ],
)
def test_a_failed_check_says_what_would_have_let_it_pass(check, words):
    assert flip(check) == words


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_the_change_that_is_written_is_never_too_small(value, bound):
    failed = at_least("c", "health", value, bound, "")
    if not failed.passed and abs(failed.change) > 1e-3:
        written = float(flip(failed).split()[0].replace("−", "-"))
        assert value + written >= bound - 1e-12
