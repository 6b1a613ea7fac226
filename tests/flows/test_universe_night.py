"""A whole night on a universe: others are delivered and stored, and neither learned from, judged on nor scored."""

from pathlib import Path

import pandas as pd
import pytest

from flows.retrain import retrain
from models.config import RetrainConfig
from models.errors import ConfigError
from models.locations import Locations
from models.night import NightFiles
from models.store import BarsStore
from tasks.score import score_session
from tasks.verify import verify
from tests.small_nights import config_at, deliver


def test_a_universe_of_nobody_is_told_by_the_night_and_by_the_scoring(prefect, make_market, tmp_path):
    bars = make_market(n_symbols=30, n_sessions=200, edge=0.5, seed=4, restless=0.17)
    members = tmp_path / "members.csv"
    names = bars["symbol"].unique()
    config = config_at(tmp_path / "home", data={"universe": {"file": str(members)}})

    members.write_text("\n".join(["symbol", *(f"{name} US Equity" for name in names)]))
    night = retrain(config=config, deliveries=[deliver(bars, tmp_path / "in", "bars.csv")])
    assert night.verdict == "keep"
    assert night.reason.startswith(f"nobody belongs to the universe on {night.session}: no symbol with a bar of it")

    members.write_text("\n".join(["symbol", *names]))
    promoted = retrain(config=config)
    assert promoted.verdict == "promote"
    assert verify(promoted.version, config).agrees

    members.write_text("symbol\nXX\n")
    scored = score_session.fn(night.session, config)
    assert not scored.published
    assert scored.why.startswith("nobody belongs to the universe")
    outcome, why = snapshot_verified(promoted.version, config)
    assert outcome == "differs"
    assert why.endswith(f"who belongs is read from {members} as it is now")

    members.unlink()
    with pytest.raises(ConfigError, match=r"cannot be asked: it was made for .*put the list back, or make"):
        score_session.fn(night.session, config)
    outcome, why = snapshot_verified(promoted.version, config)
    assert outcome == "not checked"
    assert "Put the list of members there" in why


def snapshot_verified(version: str, config: RetrainConfig) -> tuple[str, str]:
    return next((one.outcome, one.why) for one in verify(version, config).comparisons if one.what == "snapshot")


def test_only_members_are_learned_from_judged_on_and_scored(prefect, make_market, tmp_path):
    bars = make_market(n_symbols=40, n_sessions=200, edge=0.5, seed=4, restless=0.17)
    names = bars["symbol"].unique()
    thin, late, gone = names[:3]
    days = bars["session"].unique()
    bars.loc[bars["symbol"] == thin, "volume"] = 10.0
    bars = bars[(bars["symbol"] != gone) | (bars["session"] <= days[120])]
    listed = pd.DataFrame({"symbol": names, "from": pd.Series(None, index=range(len(names)), dtype=object)})
    listed.loc[1, "from"] = f"{days[190]:%Y-%m-%d}"
    listed.to_csv(tmp_path / "members.csv", index=False)
    config = config_at(
        tmp_path / "home", data={"universe": {"file": str(tmp_path / "members.csv"), "min_dollar_volume": 1e6}}
    )
    result = retrain(config=config, deliveries=[deliver(bars, tmp_path / "in", "bars.csv")])

    assert result.verdict == "promote", result.reason
    assert [check.name for check in result.checks if check.group == "leak" and not check.passed] == []
    assert (result.snapshot.members, result.snapshot.ended) == (38, 1)
    assert "38 symbols belong to the universe" in Path(result.report).read_text()

    locations = Locations(config.storage)
    dataset = NightFiles(locations, result.night_id).read_dataset(config)
    learned = set(dataset.panel.symbol_of(dataset.train))
    assert gone in learned
    assert not {thin, late} & learned
    evidence = pd.read_parquet(Path(locations.night(result.night_id), "candidate", "evidence.parquet"))
    assert not {thin, gone} & set(evidence["symbol"])
    assert evidence.loc[evidence["symbol"] == late, "session"].min() >= days[190]
    scored = BarsStore(locations).predictions(result.session)
    assert set(scored["symbol"]) == set(names) - {thin, gone}
