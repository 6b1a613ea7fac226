"""What serves now, as the ledger tells it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from models.config import RetrainConfig, StorageConfig
from models.ledger import Ledger
from models.locations import Locations
from models.page import to_markdown
from models.records import LedgerEntry
from tasks.status import status
from tasks.status_page import status_page

START = datetime(2024, 5, 2, 22, 0, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    return RetrainConfig(storage=StorageConfig(home=str(tmp_path)))


@pytest.fixture
def decide(config):
    """Append a decision; each one a day after the one before it."""
    made: list[LedgerEntry] = []

    def append(verdict: str, version: str, champion: str | None, session: date | None = None) -> None:
        day = len(made)
        entry = LedgerEntry(
            night_id=f"{day:016x}",
            session=session or START.date() + timedelta(days=day),
            as_of=START + timedelta(days=day),
            decided_at=START + timedelta(days=day),
            verdict=verdict,
            reason=f"reason {day}",
            version=version,
            champion_before=None,
            champion_after=champion,
            actor="test",
        )
        Ledger(Locations(config.storage)).append(entry)
        made.append(entry)

    return append


def test_where_nothing_was_ever_decided_nothing_serves(config):
    report = status(config)
    assert report.champion is None
    assert report.nights == ()


def test_a_kept_night_leaves_nothing_serving(config, decide):
    decide("keep", "v0", None)
    assert status(config).champion is None


def test_the_champion_is_that_of_the_last_move_not_of_the_last_night(config, decide):
    decide("promote", "v0", "v0")
    decide("keep", "v1", "v0")
    champion = status(config).champion
    assert champion is not None
    assert (champion.version, champion.since, champion.reason) == ("v0", START, "reason 0")


def test_after_a_rollback_the_session_is_that_of_the_model_and_since_that_of_the_move(config, decide):
    decide("promote", "v0", "v0")
    decide("promote", "v1", "v1")
    decide("rollback", "v0", "v0")
    champion = status(config).champion
    assert champion is not None
    assert (champion.version, champion.session, champion.since) == ("v0", START.date(), START + timedelta(days=2))


def test_the_newest_decisions_come_first_and_no_more_than_asked(config, decide):
    for version in ("v0", "v1", "v2"):
        decide("keep", version, None)
    assert [night.version for night in status(config, nights=2).nights] == ["v2", "v1"]


def test_a_new_home_names_what_is_missing_and_is_not_well(config):
    report = status(config)
    assert not report.well
    assert [concern.split(":")[0] for concern in report.concerns] == [
        "There are no bars yet", "No night was decided yet", "Nothing serves"
    ]  # fmt: skip


def test_the_page_says_in_its_first_line_whether_all_is_well_and_escapes_what_it_quotes(config, decide):
    decide("promote", "v0", "v0")
    entry_reason = "<script>alert(1)</script>"
    report = status(config)
    hostile = report.model_copy(update={"concerns": (entry_reason,)})
    page = to_markdown(status_page(hostile, START))
    assert "# 1 to look at: v0 serves" in page
    assert "<script" not in page
