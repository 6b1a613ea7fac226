"""A whole night on hourly bars of a real market that never closes: it waits on half a day, and trains on the whole."""

from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from flows.retrain import retrain
from models.config import RetrainConfig
from models.locations import Locations
from models.store import BarsStore
from tests.real_data import real
from tests.small_nights import config_at

LAST = pd.Timestamp("2019-12-31", tz="UTC")


@pytest.fixture
def config(tmp_path) -> RetrainConfig:
    return config_at(
        tmp_path / "home",
        data={"exchange": "24/7"},
        source={"known_at_pattern": r"(\d{4}-\d{2}-\d{2})"},
        contract={"levels": {"completeness": "wait"}},
    )


@pytest.fixture
def deliveries(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def parts() -> dict[str, pd.DataFrame]:
    """The history of a year and a half, and the morning and the rest of its last day."""
    bars = pd.read_parquet(real("bitfinex7_1h/bitfinex7_1h.parquet")).drop(columns="minutes")
    time = bars["timestamp"]
    history = bars[(time >= "2018-07-01") & (time < LAST)]
    noon = LAST + pd.Timedelta(hours=12)
    return {"history": history, "morning": bars[(time >= LAST) & (time < noon)], "rest": bars[time >= noon]}


@pytest.mark.slow
def test_a_night_on_hourly_bars_waits_for_the_rest_of_its_day_and_then_runs_to_its_verdict(prefect, config, deliveries):
    bars = parts()
    bars["history"].to_parquet(deliveries / "0.parquet")
    bars["morning"].to_parquet(deliveries / "a-2019-12-31.parquet")
    waiting = retrain(config=config, deliveries=[str(deliveries)])
    assert waiting.session == date(2019, 12, 31)
    assert (waiting.verdict, waiting.version) == ("keep", None)
    assert "waiting: 2019-12-31 is partial" in waiting.reason
    assert waiting.delivery.accepted == waiting.delivery.delivered == len(bars["history"]) + len(bars["morning"])

    bars["rest"].to_parquet(deliveries / "b-2019-12-31.parquet")
    result = retrain(config=config, deliveries=[str(deliveries)])
    assert result.delivery.revised == result.delivery.delivered == len(bars["rest"])
    assert (result.snapshot.coverage, result.snapshot.symbols) == (1.0, 7)
    assert result.snapshot.rows == 7 * len(pd.date_range("2018-07-01", LAST.date()))
    assert result.version is not None
    assert {check.group for check in result.checks} >= {"health", "leak", "skill"}
    assert [check.name for check in result.checks if check.group == "leak" and not check.passed] == []

    known = BarsStore(Locations(config.storage)).as_known(datetime(2020, 1, 1, tzinfo=UTC), last=LAST.date())
    btc = known[(known["symbol"] == "BTCUSD") & (known["session"] == LAST.tz_localize(None))].iloc[0]
    hours = pd.concat(bars.values()).query("symbol == 'BTCUSD' and timestamp >= @LAST")
    assert (btc["open"], btc["close"]) == (hours["open"].iloc[0], hours["close"].iloc[-1])
    assert (btc["high"], btc["low"]) == (hours["high"].max(), hours["low"].min())
    assert btc["volume"] == pytest.approx(hours["volume"].sum())
