import math

import pytest

from benchmarks.__main__ import HEAD, recorded
from benchmarks.measuring import Result, Row, Sample, Skipped, answer, table


def test_a_reach_is_judged_by_the_median_of_the_rounds():
    row = Row.of_times("case", Sample(values=(10, 30, 11)), Sample(values=(1, 1, 2)), at_least=10)
    assert row.ratio.values == (10, 30, 5.5)
    assert row.reached == "yes"


def test_what_is_not_a_number_reaches_nothing():
    row = Row.of_times("case", Sample(values=(1,)), Sample(values=(math.nan,)), at_least=10)
    assert row.reached == "**no**"


def test_rounds_that_do_not_match_are_compared_by_their_medians():
    assert Sample(values=(2, 4, 100)).over(Sample(values=(2,))).values == (2,)


def test_a_result_comes_back_from_its_record_with_infinite_times():
    row = Row.of_times("case", Sample(values=(1,)), Sample(values=(math.inf,)), at_least=10)
    result = Result(name="n", question="q", baseline="b", sizes="s", rows=(row,))
    assert Result.model_validate_json(result.model_dump_json()) == result


def test_a_benchmark_without_its_data_says_so_in_its_table():
    def measure() -> Result:
        raise Skipped("no panel here")

    assert "Skipped: no panel here." in table(answer(measure, "one"))


@pytest.mark.parametrize(("value", "shown"), [(1234.5, "1,234"), (0.123456, "0.1235")])
def test_figures_are_shown_with_four_digits(value, shown):
    assert str(Sample(values=(value,))) == shown


def test_results_that_were_written_down_are_found_again():
    result = Result(name="one", question="Why?", baseline="b", sizes="s", notes=("a note",))
    other = Result(name="other", question="", baseline="", sizes="", skipped="no data")
    text = "\n".join([HEAD, table(result), table(other)])
    assert recorded(text) == {"one": table(result), "other": table(other)}
