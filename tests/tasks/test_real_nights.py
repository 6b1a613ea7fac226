"""A year of real nights, delivered as they came: late, twice, thrice with a header inside, empty, and on holidays."""

import io
import random
import tarfile
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from models.calendar import Calendar
from models.config import RetrainConfig
from models.errors import DeliveryStopped
from models.facts import VALUES
from models.locations import Locations
from models.records import Account
from models.settings import load_settings
from models.store import BarsStore
from models.tables import Table
from tasks.ingest import bring_in
from tests.real_data import nightly_files

pytestmark = pytest.mark.slow

XNYS = Calendar("XNYS")
NOW = datetime(2016, 1, 2, tzinfo=UTC)
SETTINGS = (
    "data.lookback_sessions=40",
    r"source.known_at_pattern=(\d{4}-\d{2}-\d{2})",
    "source.columns.timestamp=date",
    "contract.levels.completeness=wait",
)
FACT = ["symbol", "session", "known_at", *VALUES]


class Year:
    """A store that all nights were brought into, and what each night read when it ran."""

    def __init__(self, home: Path, files: list[Path], nightly: bool) -> None:
        self.config: RetrainConfig = load_settings(assignments=[f"storage.home={home}", *SETTINGS]).config
        self.store = BarsStore(Locations(self.config.storage))
        self.stopped: list[str] = []
        self.read: dict[date, str] = {}
        for file in files:
            self.deliver(file)
            if nightly:
                self.run_night(file)

    def deliver(self, file: Path) -> None:
        try:
            bring_in(str(file), self.config, None, NOW)
        except DeliveryStopped as stopped:
            self.stopped.append(str(stopped))

    def run_night(self, file: Path) -> None:
        session = date.fromisoformat(file.name[7:17])
        if XNYS.holds(session):
            self.read[session] = self.hash_of(session)

    def hash_of(self, session: date) -> str:
        """Of what a night of this session reads."""
        return self.store.snapshot(session, XNYS.as_of(session), self.config)[1].hash

    @property
    def account(self) -> Account:
        return sum((delivery.account for delivery in self.store.deliveries()), Account())

    def facts(self) -> pd.DataFrame:
        return self.store.facts()[FACT]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return nightly_files(tmp_path_factory.mktemp("nights"))


@pytest.fixture(scope="module")
def in_order(files, tmp_path_factory):
    return Year(tmp_path_factory.mktemp("in_order"), files, nightly=True)


@pytest.fixture(scope="module")
def out_of_order(files, tmp_path_factory):
    shuffled = random.Random(7).sample(files, len(files))
    return Year(tmp_path_factory.mktemp("out_of_order"), shuffled, nightly=False)


def lines_of(file: Path) -> list[str]:
    """Data lines as plain text: all but blank ones and the first header."""
    data = file.read_bytes()
    if file.suffix == ".gz":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            data = archive.extractfile("prices.csv").read()
    return [line for line in data.decode().splitlines() if line.strip()][1:]


def test_every_delivered_row_of_the_year_is_accounted_for(files, in_order):
    lines = [line for file in files for line in lines_of(file)]
    account = in_order.account
    assert account.delivered == len(lines)
    assert account.accepted + account.revised == len(in_order.store.facts())
    days = pd.to_datetime(sorted({line.split(",")[1] for line in lines if not line.startswith("symbol,")}))
    holidays = {date(2015, 4, 3), date(2015, 7, 3), date(2015, 5, 25)}
    assert {day.date() for day in days if not XNYS.holds(day.date())} == holidays
    assert account.by_rule["unreadable"] == sum(line.startswith("symbol,") for line in lines) == 1
    assert set(account.by_rule) == {
        "unreadable", "not_a_session", "conflicting_rows", "nonpositive_price", "ohlc_order",
    }  # fmt: skip


def test_no_bar_of_a_holiday_is_stored(in_order):
    sessions = in_order.store.facts()["session"].to_numpy()
    assert XNYS.is_session(sessions.astype("datetime64[D]")).all()


def test_only_the_empty_night_is_stopped_and_the_next_one_fills_it_in(in_order):
    (message,) = in_order.stopped
    assert "prices-2015-06-10.tar.gz" in message
    assert "empty_delivery" in message
    facts = in_order.store.facts()
    first_known = facts.loc[facts["session"] == pd.Timestamp("2015-06-10"), "known_at"]
    assert len(first_known) > 5000
    assert first_known.min() > pd.Timestamp("2015-06-11 20:00", tz="UTC")


def test_a_file_that_was_appended_to_itself_says_everything_once(in_order):
    thrice = next(one for one in in_order.store.deliveries() if one.name == "prices-2015-04-06.tar.gz").account
    distinct = thrice.accepted + thrice.revised
    assert distinct < thrice.duplicate < thrice.delivered
    assert thrice.delivered == 36261


def test_any_order_of_arrival_ends_in_the_same_facts(in_order, out_of_order):
    pd.testing.assert_frame_equal(in_order.facts(), out_of_order.facts())
    assert in_order.account.delivered == out_of_order.account.delivered
    assert in_order.account.by_rule == out_of_order.account.by_rule


def test_all_of_it_once_more_changes_nothing(files, in_order):
    before, facts = in_order.account, in_order.facts()
    for file in files[:20]:
        in_order.deliver(file)
    assert in_order.account == before
    pd.testing.assert_frame_equal(in_order.facts(), facts)


def test_every_past_night_reads_what_it_read_also_after_compaction_and_out_of_order(in_order, out_of_order):
    assert len(in_order.read) == 198, "one of the 199 files came on a holiday"
    assert {session: in_order.hash_of(session) for session in in_order.read} == in_order.read
    tidied = Table(in_order.store.locations.table("bars"), pa.schema([])).tidy()
    assert tidied.files_after < tidied.files_before / 10
    assert {session: in_order.hash_of(session) for session in in_order.read} == in_order.read
    assert {session: out_of_order.hash_of(session) for session in in_order.read} == in_order.read
