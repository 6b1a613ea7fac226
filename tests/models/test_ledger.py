from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import StorageConfig
from models.errors import ConfigError, StoreError
from models.ledger import HORIZON, Ledger, find_night, line_of_champions
from models.locations import Locations
from models.records import LedgerEntry

NOW = datetime(2020, 6, 1, 22, tzinfo=UTC)


def entry(night_id="n1", verdict="promote", version="v1", before=None, after="v1", day=1, **facts) -> LedgerEntry:
    return LedgerEntry(
        night_id=night_id,
        session=date(2020, 6, day),
        as_of=NOW,
        decided_at=NOW + timedelta(days=day),
        verdict=verdict,
        reason="because",
        version=version,
        champion_before=before,
        champion_after=after,
        actor="tests",
        hashes={"config": "c"},
        facts=facts,
    )


@pytest.fixture
def ledger(tmp_path):
    return Ledger(Locations(StorageConfig(home=str(tmp_path))))


def test_an_empty_ledger_has_no_champion(ledger):
    assert ledger.champion_version() is None
    assert ledger.entries() == ()


def test_what_was_decided_is_read_back_as_it_was(ledger):
    decided = entry(volatility_scale=0.15, direction_auc=None)
    ledger.append(decided)
    assert ledger.entries() == (decided,)
    assert ledger.decision("n1") == decided


def test_the_same_decision_twice_is_one(ledger):
    ledger.append(entry())
    ledger.append(entry())
    assert len(ledger.entries()) == 1


def test_a_night_has_one_decision(ledger):
    ledger.append(entry())
    with pytest.raises(StoreError, match="decided already"):
        ledger.append(entry(verdict="keep", after=None))


def test_a_kept_night_leaves_the_champion(ledger):
    ledger.append(entry())
    ledger.append(entry("n2", "keep", "v2", "v1", "v1", day=2))
    assert ledger.champion_version() == "v1"


def test_a_rollback_goes_one_step_back_and_never_returns_by_itself(ledger):
    for number in (1, 2, 3):
        ledger.append(entry(f"n{number}", version=f"v{number}", after=f"v{number}", day=number))
    assert ledger.previous_champion() == "v2"
    ledger.append(entry("back", "rollback", "v2", "v3", "v2", day=4))
    assert ledger.previous_champion() == "v1"


def test_what_served_after_an_earlier_session_is_known(ledger):
    ledger.append(entry())
    ledger.append(entry("n2", version="v2", before="v1", after="v2", day=20))
    served = [ledger.champion_after_session(date(2020, *day)) for day in ((5, 29), (6, 1), (6, 19), (6, 20))]
    assert served == [None, "v1", "v1", "v2"]


def test_a_rollback_counts_from_the_day_on_which_it_was_made(ledger):
    ledger.append(entry())
    ledger.append(entry("n2", version="v2", before="v1", after="v2", day=2))
    back = entry("back", "rollback", "v1", "v2", "v1")  # its session is that of the night which made v1
    ledger.append(back.model_copy(update={"as_of": datetime(2020, 6, 20, 12, tzinfo=UTC)}))
    assert ledger.champion_after_session(date(2020, 6, 10)) == "v2"
    assert ledger.champion_after_session(date(2020, 6, 20)) == "v1"


def test_recent_facts_are_of_earlier_sessions_newest_last(ledger):
    for day in (1, 2, 3):
        ledger.append(entry(f"n{day}", "keep", f"v{day}", day=day, volatility_mean=float(day)))
    facts = ledger.recent_facts(5, before=date(2020, 6, 3))
    assert [night["volatility_mean"] for night in facts] == [1.0, 2.0]


def test_replayed_nights_are_no_newer_than_their_sessions(ledger):
    for name, day in (("n3", 3), ("n4", 4), ("replayed", 1)):
        ledger.append(entry(name, "keep", f"v-{name}", day=day, volatility_mean=float(day)))
    assert [night["volatility_mean"] for night in ledger.recent_facts(2)] == [3.0, 4.0]


def test_nights_with_another_horizon_are_no_history_of_the_targets(ledger):
    for day, horizon in ((1, 5.0), (2, 20.0), (3, None)):
        told = {} if horizon is None else {HORIZON: horizon}
        ledger.append(entry(f"n{day}", "keep", f"v{day}", day=day, volatility_mean=float(day), **told))
    assert [night["volatility_mean"] for night in ledger.recent_facts(5, horizon_sessions=20)] == [2.0, 3.0]


def test_a_damaged_log_is_told_with_what_to_do(ledger, tmp_path):
    ledger.append(entry())
    for log in (tmp_path / "tables" / "ledger" / "_delta_log").glob("*.json"):
        log.write_text("not a log")
    with pytest.raises(StoreError, match="backup"):
        ledger.entries()


def test_a_decision_that_a_power_cut_emptied_is_told_and_the_champion_does_not_slip_back(ledger, tmp_path):
    ledger.append(entry())
    ledger.append(entry("n2", version="v2", before="v1", after="v2", day=2))
    sorted((tmp_path / "tables" / "ledger" / "_delta_log").glob("*.json"))[-1].write_bytes(b"")
    with pytest.raises(StoreError, match="is empty"):
        ledger.champion_version()


def test_two_writers_at_once_leave_one_decision_of_a_night(ledger):
    def decide(number: int) -> bool:
        try:
            ledger.append(entry("n1", version=f"v{number}", after=f"v{number}"))
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(4) as writers:
        assert sum(writers.map(decide, range(4))) == 1
    assert len(ledger.entries()) == 1


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "tables").write_text("a file where the tables should be")
    with pytest.raises(StoreError, match="writable"):
        Ledger(Locations(StorageConfig(home=str(tmp_path)))).append(entry())


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_the_champion_is_the_end_of_its_line(versions):
    entries = [entry(f"n{i}", version=f"v{v}", after=f"v{v}") for i, v in enumerate(versions)]
    assert line_of_champions(entries)[-1] == f"v{versions[-1]}"


NIGHTS = (
    entry("aa11", version="2020-06-01-aa11", day=1),
    entry("ab22", "keep", version=None, day=2),
    entry("cd33", "keep", version="2020-06-02-cd33", day=2),
    entry("ee44", "rollback", version="2020-06-01-aa11", day=3),
)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("ab22", "ab22"),
        ("ab", "ab22"),
        ("2020-06-01-aa11", "aa11"),  # its night, not the rollback to it
        ("2020-06-02", "cd33"),  # the last of that session
        (None, "cd33"),
    ],
)
def test_a_night_is_found_by_whatever_it_is_called(named, found):
    assert find_night(NIGHTS, named, "here").night_id == found


@pytest.mark.parametrize("named", ["zz", "2020-06-03", "ee44", "", "2020-06"])
def test_what_is_no_night_is_refused_with_the_last_ones(named):
    with pytest.raises(ConfigError, match=r"decided in here.*The last: cd33 "):
        find_night(NIGHTS, named, "here")


def test_the_beginning_of_several_nights_names_them():
    with pytest.raises(ConfigError, match=r"'a' begins the ids of 2 nights: aa11 .*, ab22 "):
        find_night(NIGHTS, "a", "here")
