"""Whole nights on small synthetic markets: real Prefect, Delta, Great Expectations, TensorFlow, MLflow."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.retrain import earn, plan, retrain
from flows.score import score
from models import dataset as dataset_module
from models.calendar import Calendar
from models.errors import ConfigError, DeliveryError, DeliveryStopped, RegistryError, TargetsStopped
from models.ledger import Ledger
from models.locations import Locations
from models.night import NightFiles
from models.registry import Registry
from models.store import BarsStore
from models.timings import Timings
from tasks.drift import DriftRecord
from tasks.ingest import bring_in
from tasks.snapshot import identify_night
from tasks.verify import verify
from tests.models.test_targets import old_fault
from tests.small_nights import config_at, deliver

pytestmark = pytest.mark.usefixtures("prefect")


def test_the_first_healthy_night_leaves_a_champion(first_night, home):
    assert first_night.verdict == "promote", first_night.reason
    assert first_night.champion == first_night.version
    assert Registry(Locations(config_at(home).storage)).champion() == first_night.version


def test_the_result_has_the_documented_fields(first_night):
    assert set(json.loads(first_night.model_dump_json())) == {
        "session", "as_of", "night_id", "repeated", "verdict", "reason", "version", "champion", "trained_until",
        "checks", "bounds", "percentiles", "metrics", "delivery", "snapshot", "timings", "report", "forced",
    }  # fmt: skip


def test_every_delivered_row_is_in_the_account(first_night, market):
    assert first_night.delivery.delivered == first_night.delivery.accepted == len(market) - 40
    assert first_night.snapshot.rows == first_night.delivery.accepted


def test_nothing_fitted_has_seen_the_evidence(first_night, home):
    directory = Registry(Locations(config_at(home).storage)).fetch(first_night.version)
    evidence = pd.read_parquet(directory / "evidence.parquet")
    assert pd.Timestamp(first_night.trained_until) < evidence["session"].min()


def test_the_out_of_sample_frame_has_its_fixed_columns(first_night, home):
    directory = Registry(Locations(config_at(home).storage)).fetch(first_night.version)
    fixed = ["session", "symbol", "fold", "version", "p_up", "volatility", "magnitude"]
    realised = ["direction", "volatility_target", "magnitude_target"]
    assert list(pd.read_parquet(directory / "evidence.parquet").columns[:10]) == [*fixed, *realised]


def test_what_was_measured_is_what_serves(first_night, home):
    store = BarsStore(Locations(config_at(home).storage))
    served = store.predictions(first_night.session)
    assert set(served["version"]) == {first_night.version}
    assert served["volatility"].between(0, first_night.bounds["volatility"]).all()


def test_the_report_names_verdict_and_reason(first_night):
    page = Path(first_night.report).read_text()
    assert first_night.version in page
    assert "volatility_to_har" in page


def test_drift_is_measured_told_and_no_reason_to_stop(first_night, home):
    record = NightFiles(Locations(config_at(home).storage), first_night.night_id).read_record("drift", DriftRecord)
    assert [found.rule for found in record.findings] == ["column_drift", "feature_drift"]
    assert len(record.features[0].earlier) == 60
    page = Path(first_night.report).read_text()
    assert all(found.why in page for found in record.findings)
    assert "drift" in first_night.timings


def test_nothing_that_a_night_writes_is_pickled(first_night, home):
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "golden.npz" for path in files)
    pickled = [path for path in files if path.read_bytes()[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}]
    assert pickled == []


def test_the_same_night_again_is_recognised_and_writes_nothing(first_night, home):
    ledger = Ledger(Locations(config_at(home).storage))
    before = len(ledger.entries())
    again = retrain(config=config_at(home))
    assert again == first_night.model_copy(update={"repeated": True})
    assert len(ledger.entries()) == before


def test_a_night_killed_between_its_decision_and_its_page_is_told_without_being_judged_again(first_night, home):
    locations = Locations(config_at(home).storage)
    decided = Ledger(locations).entries()
    Path(locations.night(first_night.night_id), "result.json").unlink()
    Path(first_night.report).unlink()
    told = retrain(config=config_at(home))
    assert not told.repeated
    assert (told.verdict, told.reason, told.checks) == (first_night.verdict, first_night.reason, first_night.checks)
    assert told.delivery == first_night.delivery
    assert first_night.version in Path(told.report).read_text()
    assert Ledger(locations).entries() == decided


@pytest.mark.slow
def test_a_home_restored_from_a_copy_at_another_place_goes_on_from_there(first_night, home, tmp_path):
    restored = config_at(shutil.copytree(home, tmp_path / "restored"))
    again = retrain(config=restored)
    assert (again.repeated, again.champion) == (True, first_night.champion)
    assert score(config=restored).version == first_night.champion
    trial = retrain(config=config_at(tmp_path / "restored", training={"seed": 3}))
    assert trial.champion == first_night.champion
    assert Registry(Locations(restored.storage)).fetch(trial.version).is_relative_to(tmp_path)


@pytest.mark.slow
def test_a_trial_that_convinces_somebody_is_promoted_by_force_and_once_only(first_night, home, tmp_path, monkeypatch):
    monkeypatch.setenv("NOCTURNE_ACTOR", "Ann")
    config = config_at(shutil.copytree(home, tmp_path / "copy"), training={"seed": 21})
    word = {"force": "promote", "force_reason": "seen by hand"}
    trial = retrain(config=config, promote=False)
    trained = Path(tmp_path, "copy", "nights", trial.night_id, "candidate.json").stat().st_mtime_ns
    night = retrain(config=config, **word)
    assert (night.night_id, night.verdict, night.champion) == (trial.night_id, "promote", trial.version)
    assert Path(tmp_path, "copy", "nights", trial.night_id, "candidate.json").stat().st_mtime_ns == trained
    entry = Ledger(Locations(config.storage)).champion()
    assert (entry.actor, entry.champion_after) == ("Ann", trial.version)
    assert entry.reason.startswith("forced by Ann: seen by hand; the gate said: superseded")
    assert "Ann decided this night in place of the gate" in Path(night.report).read_text()
    assert retrain(config=config, **word) == night.model_copy(update={"repeated": True})
    with pytest.raises(ConfigError, match="Nothing is decided twice"):
        retrain(config=config, force="keep", force_reason="second thoughts")
    kept = retrain(config=config_at(tmp_path / "copy", training={"seed": 22}), force="keep", force_reason="no")
    assert (kept.verdict, kept.champion, kept.forced.by) == ("keep", trial.version, "Ann")


def test_another_seed_on_the_same_session_is_judged_and_superseded(first_night, kept_night):
    assert kept_night.night_id != first_night.night_id
    assert kept_night.reason.startswith("superseded")
    assert {check.name for check in kept_night.checks if check.group == "champion"} >= {
        "later_session",
        "auc_to_champion",
    }
    assert kept_night.champion == first_night.version


def test_a_later_session_is_compared_with_the_champion(first_night, home, market):
    last = market[market["session"] == market["session"].max()]
    as_of = pd.Timestamp(last["session"].iloc[0]).tz_localize("UTC") + pd.Timedelta(hours=23)
    config = config_at(home, source={"known_at_pattern": r"(\d{4}-\d{2}-\d{2})"})
    night = retrain(config=config, deliveries=[deliver(last, home / "in", f"night-{as_of.date()}.csv")])
    assert night.session == last["session"].iloc[0].date()
    later = next(check for check in night.checks if check.name == "later_session")
    assert later.passed
    assert night.delivery.accepted == 40


def test_an_earlier_session_sees_only_what_was_known_then(first_night, home):
    earlier = first_night.session - timedelta(days=7)
    night, same = (identify_night(earlier, config_at(home), datetime.now(UTC), write=False) for _ in range(2))
    assert night == same
    assert night.snapshot.last == earlier
    assert night.snapshot.rows < first_night.snapshot.rows


def test_a_trial_decides_nothing(first_night, home):
    ledger = Ledger(Locations(config_at(home).storage))
    before = ledger.entries()
    trial = retrain(config=config_at(home, training={"seed": 5}), promote=False)
    assert trial.champion == before[-1].champion_after
    assert ledger.entries() == before
    with pytest.raises(RegistryError, match="as a trial"):
        verify(trial.version, config_at(home))


def test_a_plan_says_what_would_be_read_and_writes_nothing(first_night, home):
    told = plan(None, config_at(home, training={"seed": 77}))
    assert told["rows"] >= first_night.snapshot.rows
    assert not Path(home, "nights", told["night_id"]).exists()


def test_the_old_fault_put_back_stops_the_night_before_training(first_night, home, monkeypatch):
    monkeypatch.setattr(dataset_module, "compute_targets", old_fault)
    config = config_at(home, training={"seed": 9})
    with pytest.raises(TargetsStopped, match="volatility_p99"):
        retrain(config=config)
    night = identify_night(None, config, datetime.now(UTC), write=False)
    assert not Path(home, "nights", night.night_id, "candidate").exists()
    assert Registry(Locations(config.storage)).champion() is not None


def test_a_night_that_is_not_done_in_time_is_given_up_and_keeps_nothing_of_its_fit(first_night, home):
    config = config_at(home, training={"seed": 11})
    night = identify_night(None, config, datetime.now(UTC))
    timings = Timings()
    timings.began = first_night.as_of - timedelta(hours=1)  # as if that night were tonight
    outcome = earn(night, config, timings)
    assert outcome.verdict.verdict == "keep"
    assert outcome.verdict.reason.startswith(f"abandoned: not done by {night.snapshot.as_of:%Y-%m-%d %H:%M} UTC")
    assert outcome.candidate is None
    assert not Path(home, "nights", night.night_id, "candidate.json").exists()


def test_a_stopped_delivery_leaves_the_champion_untouched(first_night, home, market):
    half = market[market["session"] == market["session"].max()].head(5)
    half = half.assign(session=half["session"] + pd.Timedelta(days=1))
    config = config_at(home)
    champion = Registry(Locations(config.storage)).champion()
    with pytest.raises(DeliveryStopped, match="completeness"):
        retrain(config=config, deliveries=[deliver(half, home / "in", "half.csv")])
    assert Registry(Locations(config.storage)).champion() == champion


def test_a_day_that_is_no_session_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="no session of XNYS"):
        retrain(session=date(2015, 7, 4), config=config_at(tmp_path), deliveries=["absent.csv"])


def test_a_night_without_bars_of_its_own_session_ends_with_no_data(first_night, home):
    night = retrain(session=date(2016, 3, 1), config=config_at(home))
    assert night.verdict == "keep"
    assert night.reason.startswith("no data")


def test_a_night_without_a_candidate_cannot_be_forced_to_promote_and_the_ledger_says_who_wanted_it(first_night, home):
    config = config_at(home, training={"seed": 31})
    ledger = Ledger(Locations(config.storage))
    serving = ledger.champion_version()
    night = retrain(session=date(2016, 3, 1), config=config, force="promote", force_reason="it must", force_by="Ann")
    assert (night.verdict, night.champion, night.forced) == ("keep", serving, None)
    told = "not forced, since there is no candidate; Ann asked for it: it must; the gate said: no data"
    assert ledger.decision(night.night_id).reason.startswith(told)


def test_an_empty_store_says_how_to_fill_it(tmp_path):
    with pytest.raises(DeliveryError, match="nocturne ingest"):
        retrain(config=config_at(tmp_path))


def test_too_little_history_names_the_sessions_needed(tmp_path, market):
    short = market[market["session"] < market["session"].unique()[70]]
    night = retrain(config=config_at(tmp_path), deliveries=[deliver(short, tmp_path / "in", "short.csv")])
    assert night.reason.startswith("too little history")
    assert "120 needed" in night.reason
    assert Path(night.report).exists()


@pytest.mark.slow
def test_a_universe_that_is_too_small_gets_absolute_directions(tmp_path, market):
    few = market[market["symbol"].isin(["S000", "S001", "S002"])]
    night = retrain(config=config_at(tmp_path), deliveries=[deliver(few, tmp_path / "in", "few.csv")])
    assert night.snapshot.symbols == 3
    assert np.isfinite(night.metrics["direction_auc"])


def test_score_where_nothing_serves_says_so(tmp_path):
    result = score(config=config_at(tmp_path))
    assert result.version is None
    assert "Nothing serves yet" in result.why


@pytest.mark.slow
def test_nothing_is_scored_on_half_a_session_unless_somebody_says_so(first_night, home, market, tmp_path):
    last = market[market["session"] == market["session"].max()].drop(columns="session")
    calendar = Calendar("XNYS")
    day = calendar.after(market["session"].max().date(), 1)
    opening = calendar.hours(np.array([day], "datetime64[D]")).opens[0]
    hours = [last.assign(timestamp=f"{opening + np.timedelta64(hour, 'h')}Z") for hour in (0, 1)]
    pd.concat(hours).to_csv(tmp_path / "morning.csv", index=False)
    config = config_at(shutil.copytree(home, tmp_path / "copy"))
    noon = pd.Timestamp(opening, tz="UTC") + pd.Timedelta(hours=3)
    bring_in(str(tmp_path / "morning.csv"), config, noon.to_pydatetime(), datetime.now(UTC))
    held_back = score(session=day, config=config)
    assert not held_back.published
    assert f"{day} is partial" in held_back.why
    warned = config_at(tmp_path / "copy", contract={"levels": {"completeness": "warn"}})
    assert score(session=day, config=warned).published
