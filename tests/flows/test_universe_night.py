"""A whole night on a universe: others are delivered and stored, and neither learned from, judged on nor scored."""

from pathlib import Path

import pandas as pd

from flows.retrain import retrain
from models.locations import Locations
from models.night import NightFiles
from models.store import BarsStore
from tests.small_nights import config_at, deliver


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
