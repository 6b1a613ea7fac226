import numpy as np
import pandas as pd
import pytest

from expectations.gx import Suite
from expectations.rules import among, between, finding, measured, missing_breaks, not_empty
from models.errors import NocturneError, StoreError

FRAME = pd.DataFrame({"price": [1.0, 7.0, np.nan, 9.0], "fine": [True, True, False, True]})
LOW = between("low", "a price is at most 5", "price", high=5)


def test_broken_rows_are_named_by_their_position():
    outcome = Suite("bars", "a run", None).check(FRAME, [LOW])["low"]
    assert outcome.rows.tolist() == [1, 3]


def test_several_rules_on_one_column_keep_their_own_rows():
    rules = [LOW, between("high", "a price is at least 8", "price", low=8)]
    outcomes = Suite("bars", "a run", None).check(FRAME, rules)
    assert [outcome.rows.tolist() for outcome in outcomes.values()] == [[1, 3], [0, 1]]


def test_a_missing_value_is_passed_over_unless_it_must_break():
    unbounded = between("finite", "a price is a number", "price", high=1e308)
    checked = [Suite("bars", "a run", None).check(frame, [unbounded]) for frame in (FRAME, missing_breaks(FRAME))]
    assert [outcomes["finite"].rows.tolist() for outcomes in checked] == [[], [2]]


def test_enough_is_enough_where_a_rule_says_mostly():
    outcome = Suite("bars", "a run", None).check(FRAME, [among("fine", "most are fine", "fine", [True])])["fine"]
    assert not outcome.held
    relaxed = between("mostly", "most are low", "price", high=8, mostly=0.6)
    assert Suite("bars", "a run", None).check(FRAME, [relaxed])["mostly"].held


def test_an_empty_frame_breaks_the_rule_that_there_are_rows():
    outcome = Suite("bars", "a run", None).check(FRAME.iloc[:0], [not_empty("empty", "there are rows")])["empty"]
    assert (outcome.held, outcome.observed) == (False, 0)


def test_a_rule_that_cannot_be_evaluated_is_an_error_and_never_a_pass():
    with pytest.raises(NocturneError, match=r"'low' .* could not be evaluated.*nowhere"):
        Suite("bars", "a run", None).check(FRAME, [between("low", "", "nowhere", high=5)])


def test_a_finding_says_how_many_of_how_many_and_names_at_most_five():
    frame = pd.DataFrame({"price": np.arange(10.0)})
    found = finding(
        Suite("bars", "a run", None).check(frame, [between("low", "small", "price", high=1)])["low"], "rows", str
    )
    assert found.why == "Broken in 8 of 10 rows: small."
    assert found.examples == ("2", "3", "4", "5", "6")


def test_a_finding_about_one_number_says_the_number():
    outcome = Suite("bars", "a run", None).check(pd.DataFrame({"price": [9.0]}), [LOW])["low"]
    assert finding(measured(outcome, 9.0), "facts").why == "Broken: a price is at most 5; measured 9."


def test_the_data_docs_list_the_latest_runs_of_every_contract(tmp_path):
    for contract in ("bars", "targets", "predictions"):
        suite = Suite(contract, "2010-08-20", str(tmp_path / "docs"))
        suite.check(FRAME, [LOW])
        suite.publish()
    index = (tmp_path / "docs/index.html").read_text()
    assert all(f"validations/{contract}/" in index for contract in ("bars", "targets", "predictions"))


def test_a_page_of_the_data_docs_says_what_each_rule_promises(tmp_path):
    suite = Suite("bars", "prices.csv", str(tmp_path))
    suite.check(FRAME, [LOW])
    suite.publish()
    (page,) = tmp_path.glob("validations/bars/*/*/page.html")
    assert "low (stop): a price is at most 5" in page.read_text()


@pytest.mark.parametrize("run", ["../../a", "<script>", "99999999999999999999", "2010-08-20-1e309999", "", "ä" * 300])
def test_any_name_of_a_run_gives_a_page_inside_the_directory(tmp_path, run):
    suite = Suite("bars", run, str(tmp_path))
    suite.check(FRAME, [LOW])
    suite.publish()
    assert len(list(tmp_path.glob("validations/bars/*/*/page.html"))) == 1


def test_a_page_does_not_grow_with_the_number_of_broken_rows(tmp_path):
    suite = Suite("bars", "many", str(tmp_path))
    suite.check(pd.DataFrame({"price": np.full(50_000, 9.0)}), [LOW])
    suite.publish()
    (stored,) = tmp_path.glob("results/bars/*/*/page.json")
    assert stored.stat().st_size < 20_000


def test_data_docs_that_cannot_be_written_say_where_and_how_to_mend_it(tmp_path):
    (tmp_path / "docs").write_text("a file where the directory should be")
    suite = Suite("bars", "a run", str(tmp_path / "docs"))
    suite.check(FRAME, [LOW])
    with pytest.raises(StoreError, match=r"storage\.data_docs"):
        suite.publish()
