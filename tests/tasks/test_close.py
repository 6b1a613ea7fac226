"""What is not done again: by a schedule, or by whoever would decide a night a second time."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from models.calendar import Calendar
from models.config import RetrainConfig, StorageConfig
from models.errors import ConfigError
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles, NightRecord
from models.records import DeliveryRecord, Forced, LedgerEntry, NightResult, Snapshot, Verdict, at_least
from tasks.close import Outcome, deliveries_of, judged_before, refuse_second_decision, with_force
from tasks.ingest import bring_in

SESSION = date(2024, 7, 3)


@pytest.mark.parametrize(
    ("verdict", "version", "said"),
    [
        ("promote", "v1", "the night of 2024-07-03 was judged already: promote"),
        ("keep", "v1", "the night of 2024-07-03 was judged already: keep"),
        ("keep", None, None),  # no data, or given up: the schedule may still make something of it
        ("rollback", "v1", None),
    ],
)
def test_a_session_counts_as_judged_when_a_candidate_of_it_was(tmp_path, verdict, version, said):
    config = RetrainConfig(storage=StorageConfig(home=str(tmp_path)))
    assert judged_before(SESSION, config) is None
    now = datetime(2024, 7, 4, tzinfo=UTC)
    entry = LedgerEntry(
        night_id="0123456789abcdef", session=SESSION, as_of=now, decided_at=now, verdict=verdict, reason="why",
        version=version, champion_before=None, champion_after=None, actor="test",
    )  # fmt: skip
    Ledger(Locations(config.storage)).append(entry)
    assert judged_before(SESSION, config) == said
    assert judged_before(date(2024, 7, 5), config) is None


def test_a_session_whose_night_was_killed_after_its_decision_is_not_done_with(tmp_path):
    config = RetrainConfig(storage=StorageConfig(home=str(tmp_path)))
    locations, now = Locations(config.storage), datetime(2024, 7, 4, tzinfo=UTC)
    entry = LedgerEntry(
        night_id="0123456789abcdef", session=SESSION, as_of=now, decided_at=now, verdict="keep", reason="why",
        version="v1", champion_before=None, champion_after=None, actor="test",
    )  # fmt: skip
    NightFiles(locations, entry.night_id).write_record("verdict", Verdict(verdict="keep", reason="why"))
    Ledger(locations).append(entry)
    assert judged_before(SESSION, config) is None


SNAPSHOT = Snapshot(
    session=SESSION, as_of=datetime(2024, 7, 5, tzinfo=UTC), hash="h", rows=1, first=SESSION, last=SESSION, symbols=1
)
NIGHT = NightRecord(night_id="0123456789abcdef", snapshot=SNAPSHOT, config_hash="c", code_hash="d", recipe="r")
KEEP = Forced(what="keep", reason="an election", by="Ann")


def test_a_word_counts_until_the_night_is_decided_and_not_after(tmp_path):
    config = RetrainConfig(storage=StorageConfig(home=str(tmp_path)))
    sound = at_least("finite", "health", 1.0, 1.0, "all are")
    earned = Outcome(Verdict(verdict="promote", reason="earned it", checks=(sound,)))
    assert with_force(earned, KEEP, NIGHT, config).verdict.reason.startswith("forced by Ann: an election; the gate")
    now = datetime(2024, 7, 4, tzinfo=UTC)
    entry = LedgerEntry(
        night_id=NIGHT.night_id, session=SESSION, as_of=now, decided_at=now, verdict="promote", reason="earned it",
        version="v1", champion_before=None, champion_after="v1", actor="test",
    )  # fmt: skip
    Ledger(Locations(config.storage)).append(entry)
    assert with_force(earned, KEEP, NIGHT, config) == earned


def recorded(verdict):
    return NightResult(
        session=SESSION, as_of=datetime(2024, 7, 5, tzinfo=UTC), night_id=NIGHT.night_id, verdict=verdict,
        reason="skill was not shown.", version="v2", champion="v1", trained_until=None, snapshot=None,
    )  # fmt: skip


def test_a_night_that_ended_otherwise_is_not_decided_again_and_the_refusal_says_what_can_be_done():
    with pytest.raises(
        ConfigError, match=r"decided before, promote: skill was not shown. Nothing .* nocturne rollback"
    ):
        refuse_second_decision(recorded("promote"), KEEP)
    with pytest.raises(ConfigError, match=r"--force-promote was not heard .* training.seed"):
        refuse_second_decision(recorded("keep"), KEEP.model_copy(update={"what": "promote"}))


def test_who_asks_for_what_a_night_came_to_is_shown_it():
    refuse_second_decision(recorded("keep"), KEEP)
    refuse_second_decision(recorded("promote"), None)


# What a night tells of its deliveries


class Feed:
    """A store, and files of bars that come to it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.config = RetrainConfig(storage=StorageConfig(home=str(place / "home")))

    def brings(self, name: str, *days: date, close: float = 2.0, at: datetime = SNAPSHOT.as_of) -> DeliveryRecord:
        """One file with a bar of each day, arrived at that moment."""
        lines = [f"{symbol},{day},2,9,1,{close},10" for day in days for symbol in "AB"]
        file = self.place / name
        file.write_text("\n".join(["symbol,timestamp,open,high,low,close,volume", *lines]))
        return bring_in(str(file), self.config, None, at)

    def told(self, *of_this_run: DeliveryRecord) -> list[tuple[str, int]]:
        told = deliveries_of(NIGHT, of_this_run, self.config)
        return [(one.name, one.account.accepted + one.account.revised) for one in told]


@pytest.fixture
def feed(tmp_path) -> Feed:
    return Feed(tmp_path)


def test_a_night_tells_what_its_run_took_and_nothing_of_before(feed):
    feed.brings("yesterday.csv", SESSION - timedelta(days=1))
    feed.brings("morning.csv", SESSION)
    assert feed.told(feed.brings("rest.csv", SESSION, close=3.0)) == [("rest.csv", 2)]


def test_a_night_whose_first_try_was_cut_off_tells_what_that_took(feed):
    feed.brings("yesterday.csv", SESSION - timedelta(days=1))
    taken = feed.brings("today.csv", SESSION)
    assert feed.told() == feed.told(taken.repetition) == [("today.csv", 2)]
    assert feed.told(taken.repetition, feed.brings("more.csv", SESSION, close=3.0)) == [
        ("today.csv", 2),
        ("more.csv", 2),
    ]


def test_a_history_that_reaches_beyond_the_session_brought_it(feed):
    calendar = Calendar.of(feed.config.data)
    days = [calendar.after(SESSION, step) for step in range(-20, 6)]
    feed.brings("history.csv", *days, at=calendar.close(days[-1]) + timedelta(hours=1))
    assert feed.told() == [("history.csv", 2 * len(days))]


def test_a_correction_that_came_after_the_night_s_moment_is_not_told(feed):
    feed.brings("today.csv", SESSION)
    feed.brings("correction.csv", SESSION, close=3.0, at=SNAPSHOT.as_of + timedelta(days=12))
    assert feed.told() == [("today.csv", 2)]


def test_a_source_that_delivers_the_file_of_before_is_told_to_bring_nothing_new(feed):
    stale = feed.brings("same.csv", SESSION - timedelta(days=1))
    assert feed.told(stale.repetition) == [("same.csv", 0)]
