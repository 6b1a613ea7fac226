"""What a person reads at the end of a night."""

import io
import os
import re
from datetime import UTC, date, datetime

import pytest

from flows.console import show_deliveries, show_night, show_status
from flows.running import Process, Running, remember, started_at
from models.config import StorageConfig
from models.freshness import Freshness
from models.locations import Locations
from models.night import NightFiles
from models.records import Account, DeliveryRecord, Finding, NightResult, at_least, at_most
from tasks.status import ChampionStatus, NightStatus, StatusReport

NOW = datetime(2024, 5, 2, 22, 0, tzinfo=UTC)
NIGHT = NightResult(
    session=date(2024, 5, 2),
    as_of=NOW,
    night_id="0123456789abcdef",
    verdict="keep",
    reason="skill was not shown",
    version="2024-05-02-01234567",
    champion="2024-04-30-89abcdef",
    trained_until=date(2024, 3, 28),
    checks=(
        at_most("volatility saturated", "health", 0.0, 0.01, "No row is near the bound."),
        at_least("direction AUC, lower end", "skill", 0.4912, 0.5, "The interval [0.4912, 0.52] holds 0.5."),
    ),
    bounds={"volatility": 0.15, "magnitude": 0.6},
    snapshot=None,
    report="reports/2024-05-02.html",
)


@pytest.fixture
def shown(tmp_path):
    def text(result: NightResult) -> str:
        file = io.StringIO()
        show_night(result, Locations(StorageConfig(home=str(tmp_path))), file)
        return file.getvalue()

    return text


def test_runs_are_looked_up_where_they_are(shown, tmp_path):
    assert "Runs        PREFECT_HOME=" in shown(NIGHT)
    since = started_at(os.getpid())
    (tmp_path / "server").mkdir()
    server = Process(name="server", pid=os.getpid(), since=str(since), settings="")
    remember(tmp_path / "server", Running(port=4321, processes=(server,)))
    assert "Runs        http://127.0.0.1:4321\n" in shown(NIGHT)


def test_a_night_ends_with_its_verdict_and_what_serves(shown):
    text = shown(NIGHT)
    assert "Session 2024-05-02: KEEP. skill was not shown" in text
    assert "2024-04-30-89abcdef serves" in text


def test_each_failed_check_says_why(shown):
    text = shown(NIGHT)
    assert "✗ direction AUC, lower end: The interval [0.4912, 0.52] holds 0.5." in text
    assert "(+0.0088 would have passed)" in text
    assert "No row is near the bound." not in text


def test_the_bounds_of_the_heads_are_shown(shown):
    assert "volatility in [0, 0.15], magnitude in [0, 0.6]" in shown(NIGHT)


def test_a_night_says_how_to_look_further(shown, tmp_path):
    text = shown(NIGHT)
    assert "reports/2024-05-02.html" in text
    assert "mlflow ui --backend-store-uri" in text
    assert "prefect server start" in text


def test_a_night_that_decided_something_says_how_to_have_it_explained_and_a_trial_does_not(shown, tmp_path):
    assert "nocturne explain" not in shown(NIGHT)
    NightFiles(Locations(StorageConfig(home=str(tmp_path))), NIGHT.night_id).write_record("result", NIGHT)
    assert re.search(r"\nWhy         \S*nocturne explain 01234567\n", shown(NIGHT))


def test_a_repeated_night_says_so(shown):
    assert "nothing was run or written" in shown(NIGHT.model_copy(update={"repeated": True}))


def test_a_delivery_shows_where_its_rows_went_and_what_was_found():
    account = Account(delivered=10, accepted=7, duplicate=1, quarantined=2, by_rule={"ohlc order": 2})
    finding = Finding(
        rule="ohlc order", level="quarantine", count=2, why="high below low", examples=("DHR 2010-06-14",)
    )
    delivery = DeliveryRecord(
        delivery="ab" * 32,
        name="bars.csv",
        status="accepted",
        known_at_rule="arrival",
        received_at=NOW,
        first=date(2024, 5, 1),
        last=date(2024, 5, 2),
        account=account,
        findings=(finding,),
    )
    file = io.StringIO()
    show_deliveries([delivery], account, file)
    assert "quarantined by ohlc order: 2" in file.getvalue()
    assert "high below low (DHR 2010-06-14)" in file.getvalue()


def test_status_names_the_champion_since_when_and_why():
    champion = ChampionStatus(version="v2", since=NOW, session=date(2024, 5, 2), reason="all checks passed")
    night = NightStatus(
        session=date(2024, 5, 2),
        decided_at=NOW,
        verdict="promote",
        reason="all checks passed",
        version="v2",
        champion="v2",
        night_id="01",
        actor="cron",
    )
    file = io.StringIO()
    day = date(2024, 5, 2)
    fresh = Freshness(due=day, data_until=day, decided_until=day, scored=True, trained_until=day)
    report = StatusReport(home="h", well=True, concerns=(), fresh=fresh, champion=champion, nights=(night,))
    show_status(report, file)
    assert "Looked in" not in file.getvalue()
    assert "All is well" in file.getvalue()
    assert "Champion v2" in file.getvalue()
    assert "serves since 2024-05-02 22:00 UTC: all checks passed" in file.getvalue()


def test_checks_for_leaks_are_one_row_until_one_of_them_fails(shown):
    leaks = tuple(at_most(name, "leak", 0.0, 1.0, "nothing moved") for name in ("truncation", "refit"))
    text = shown(NIGHT.model_copy(update={"checks": (*NIGHT.checks[:1], *leaks, *NIGHT.checks[1:])}))
    assert "all 2 checks" in text
    assert "refit" not in text
    failed = at_most("refit", "leak", 2.0, 1.0, "a scale moved")
    text = shown(NIGHT.model_copy(update={"checks": (*NIGHT.checks, leaks[0], failed)}))
    assert "truncation" in text
    assert "✗ refit: a scale moved" in text
