"""Two nights in a row on one recipe: the first trains its folds, the second trains nothing but its candidate."""

from pathlib import Path

import pandas as pd
import pytest

from flows.retrain import retrain
from models.locations import Locations
from models.night import NightFiles
from models.records import CandidateRecord
from tests.small_nights import config_at, deliver

pytestmark = [pytest.mark.usefixtures("prefect"), pytest.mark.slow]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def nights(home, make_market):
    market = make_market(n_symbols=40, n_sessions=341, edge=0.5, seed=4, restless=0.17)
    last = market["session"] == market["session"].max()
    config = config_at(
        home,
        gate={"folds": "quarterly", "evidence_sessions": 90},
        source={"known_at_pattern": r"(\d{4}-\d{2}-\d{2})"},
    )
    late = f"night-{market['session'].max().date()}.csv"
    first = retrain(config=config, deliveries=[deliver(market[~last], home / "in", "history.csv")])
    return first, retrain(config=config, deliveries=[deliver(market[last], home / "in", late)])


@pytest.fixture(scope="module")
def candidates(home, nights) -> list[CandidateRecord]:
    locations = Locations(config_at(home).storage)
    return [NightFiles(locations, night.night_id).read_record("candidate", CandidateRecord) for night in nights]


def test_the_second_night_trains_one_model_and_no_fold(home, candidates):
    first, second = candidates
    assert [fold.reused for fold in first.folds] == [False] * len(first.folds)
    assert [fold.reused for fold in second.folds] == [True] * len(second.folds)
    assert {fold.version for fold in second.folds} <= {fold.version for fold in first.folds}
    assert len(list((home / "folds").iterdir())) == len(first.folds) >= 2


def test_no_row_of_the_evidence_was_seen_by_the_model_that_predicted_it(home, nights, candidates):
    for night, candidate in zip(nights, candidates, strict=True):
        frame = pd.read_parquet(home / "nights" / night.night_id / "candidate" / "evidence.parquet")
        until = {fold.version: fold.trained_until for fold in candidate.folds} | {
            candidate.version: candidate.trained_until
        }
        assert set(frame["version"]) == set(until)
        assert (frame["session"] > frame["version"].map(until).astype("datetime64[s]")).all()
        assert not frame.duplicated(["session", "symbol"]).any()


def test_the_candidate_knows_all_but_the_fresh_sessions(home, nights, candidates):
    for night, candidate in zip(nights, candidates, strict=True):
        frame = pd.read_parquet(home / "nights" / night.night_id / "candidate" / "evidence.parquet")
        assert frame.loc[frame["version"] == candidate.version, "session"].nunique() == 21
        assert candidate.trained_until == night.trained_until


def test_the_two_are_compared_on_the_folds_that_are_stored_with_each(nights):
    first, second = nights
    assert first.verdict == "promote", first.reason
    compared = {check.name: check for check in second.checks if check.group == "champion"}
    assert compared["auc_to_champion"].passed, compared["auc_to_champion"].why


def test_the_seconds_of_the_folds_are_told(nights):
    first, second = nights
    assert first.timings["folds"] > 0
    assert "folds" not in second.timings
