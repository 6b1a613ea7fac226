"""What a schedule need not do again."""

from datetime import UTC, date, datetime

import pytest

from models.config import RetrainConfig, StorageConfig
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles
from models.records import LedgerEntry, Verdict
from tasks.close import judged_before

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
