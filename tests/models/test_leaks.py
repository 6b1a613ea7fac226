"""Known mistakes, each made where somebody would make it, and the check that names it; sound data pass them all."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import models.features as features_module
import models.panel as panel_module
from models.baselines import baselines
from models.config import RetrainConfig
from models.dataset import Dataset
from models.leaks import leak_checks
from models.leaks.causality import causality_checks
from models.leaks.fitted import fitted_checks
from models.leaks.labels import label_checks
from models.leaks.sample import Sample
from models.leaks.scan import single_feature
from models.offset import Standardisation
from models.panel import build_panel
from models.splits import Split, rows_between
from models.synthetic import MarketSettings, synthetic_market
from models.targets import compute_targets

CONFIG = RetrainConfig.model_validate(
    {
        "network": {"window": 20, "spans": [1, 3, 8]},
        "targets": {"horizon_sessions": 3},
        "training": {"validation_sessions": 20},
        "gate": {"evidence_sessions": 60, "bootstrap_replicates": 100},
    }
)


def dataset_of(bars: pd.DataFrame) -> Dataset:
    return Dataset.of(bars, build_panel(bars, CONFIG.data).market, CONFIG)


def evidence_of(dataset: Dataset) -> pd.DataFrame:
    rows, splits = dataset.evidence, dataset.plan.splits
    keys = pd.DataFrame(
        {
            "session": dataset.panel.session_of(rows).astype("datetime64[s]"),
            "symbol": pd.Series(dataset.panel.symbol_of(rows), dtype="str"),
            "fold": np.repeat(
                [split.fold for split in splits], [len(dataset.between(split.evidence)) for split in splits]
            ),
        }
    )
    return pd.concat([keys, dataset.realised(rows)], axis=1)


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """No edge; gaps, splits that start a new segment, a stuck price, symbols that end."""
    settings = MarketSettings(symbols=30, sessions=240, edge=0, gaps=0.01, splits=2, stuck=1, delistings=2)
    return synthetic_market(settings, horizon=3).bars


@pytest.fixture(scope="module")
def dataset(bars) -> Dataset:
    return dataset_of(bars)


@pytest.fixture(scope="module")
def evidence(dataset) -> pd.DataFrame:
    return evidence_of(dataset)


def failed(checks) -> set[str]:
    return {check.name for check in checks if not check.passed}


def causality(dataset, evidence) -> set[str]:
    sample = Sample.of(dataset)
    return failed((*causality_checks(dataset, sample), *label_checks(dataset, sample, evidence)))


def fitted(dataset, evidence, splits=None) -> set[str]:
    return failed(fitted_checks(dataset, Sample.of(dataset), splits or dataset.plan.splits, evidence))


def test_sound_data_pass_every_check_with_a_number(dataset, evidence):
    checks = leak_checks(dataset, dataset.plan.splits, evidence)
    assert not failed(checks)
    assert all(check.value is not None and check.group == "leak" for check in checks)


def test_the_same_night_is_asked_about_the_same_symbols(dataset):
    first, again = Sample.of(dataset), Sample.of(replace(dataset))
    assert (first.symbols == again.symbols).all()
    assert (first.scanned == again.scanned).all()


def test_without_evidence_nothing_passes_that_needs_some(dataset, evidence):
    nothing = failed(leak_checks(dataset, dataset.plan.splits, evidence.iloc[:0]))
    assert {"targets_again", "directions_again", "label_end", "repeated_rows", "single_feature"} <= nothing


# Where features come from


def with_summaries(monkeypatch, change) -> None:
    """Change the averages that summaries are made of: (panel, start, stop, averages) → averages."""
    honest = features_module._averages

    def changed(panel, start, stop, window, spans):
        return change(panel, start, stop, honest(panel, start, stop, window, spans))

    monkeypatch.setattr(features_module, "_averages", changed)


def test_a_feature_of_the_next_bar_moves_when_the_future_does(dataset, evidence, monkeypatch):
    def next_bar(panel, start, stop, averages):
        averages[:-1, 0] = averages[1:, 0]
        return averages

    with_summaries(monkeypatch, next_bar)
    assert {"truncation", "future_noise"} <= causality(dataset, evidence)


def test_a_feature_normalised_over_all_sessions_is_caught(dataset, evidence, monkeypatch):
    with_summaries(monkeypatch, lambda panel, start, stop, averages: averages + averages.mean(axis=0))
    assert {"truncation", "future_noise"} <= causality(dataset, evidence)


def test_a_warm_up_that_is_filled_from_behind_is_caught(dataset, evidence, monkeypatch):
    def filled(panel, start, stop, averages):
        for first, last in pairwise(panel.offsets - start):
            if first >= 0 and last - first > 15 and last <= len(averages):
                averages[first : first + 15] = averages[first + 15]
        return averages

    with_summaries(monkeypatch, filled)
    assert "truncation" in causality(dataset, evidence)


def test_a_filter_that_runs_from_one_symbol_into_the_next_is_caught(dataset, evidence, monkeypatch):
    honest = features_module._averages

    def one_series(panel, start, stop, window, spans):
        whole = replace(panel, offsets=np.array([0, len(panel.series)]))
        return honest(whole, start, stop, window, spans)

    monkeypatch.setattr(features_module, "_averages", one_series)
    assert {"own_series", "served_features"} <= causality(dataset, evidence)


def test_a_price_level_among_the_features_is_caught(dataset, evidence, monkeypatch):
    honest = features_module.bar_features

    def with_level(ops, previous, current):
        level = ops.log(ops.maximum(current[..., 3], 1e-30))
        return {**honest(ops, previous, current), "squared_market": level}

    monkeypatch.setattr(features_module, "bar_features", with_level)
    assert "price_level" in causality(dataset, evidence)


def test_windows_that_are_served_from_another_bar_than_was_trained_on_are_caught(dataset, evidence, monkeypatch):
    honest = panel_module.windows

    def a_bar_later(panel, rows, window, block=4096):
        return honest(panel, np.minimum(rows + 1, len(panel.series) - 1), window, block)

    monkeypatch.setattr("models.leaks.causality.windows", a_bar_later)
    assert causality(dataset, evidence) == {"served_features"}


def test_the_markets_return_of_the_next_session_is_caught(bars, evidence):
    market = build_panel(bars, CONFIG.data).market.shift(-1, fill_value=0.0)
    assert causality(Dataset.of(bars, market, CONFIG), evidence) == {"market_return"}


def test_a_split_inside_a_series_is_caught(bars):
    panel = build_panel(bars, CONFIG.data)
    second = int(panel.offsets[:-1][panel.segments > 0][0])
    is_split = (bars["symbol"] == panel.symbol_of(np.array([second]))[0]) & (
        bars["session"] == panel.session_of(np.array([second]))[0]
    )
    joined = Dataset.of(bars.assign(ruling=np.where(is_split, 1.0, np.nan)), panel.market, CONFIG)
    assert "unbroken_series" not in causality(joined, evidence_of(joined))  # a person has said that it is none
    assert "unbroken_series" in causality(replace(joined, bars=bars), evidence_of(joined))


# Where targets come from


def test_a_target_of_an_unfinished_horizon_is_caught(dataset, evidence):
    padded = np.nan_to_num(dataset.targets.volatility)
    assert "finished_labels" in causality(
        replace(dataset, targets=replace(dataset.targets, volatility=padded)), evidence
    )


@pytest.mark.parametrize("entry", ["close", "next_open", "next_close"])
def test_judged_targets_agree_with_a_second_computation_from_every_entry(bars, entry):
    config = CONFIG.model_copy(update={"targets": CONFIG.targets.model_copy(update={"entry": entry})})
    dataset = Dataset.of(bars, build_panel(bars, config.data).market, config)
    assert not causality(dataset, evidence_of(dataset))


def test_a_direction_of_the_day_before_is_caught(dataset, evidence):
    shifted = evidence.assign(direction=evidence.groupby("symbol")["direction"].shift(1))
    assert causality(dataset, shifted) == {"directions_again"}


def test_a_judged_target_that_is_not_the_rows_own_is_caught(dataset, evidence):
    assert causality(dataset, evidence.assign(volatility_target=evidence["magnitude_target"])) == {"targets_again"}


# What was fitted


def test_training_up_to_the_judged_sessions_without_a_purge_is_caught(dataset, evidence, monkeypatch):
    split = dataset.split
    closer = replace(split, validation=(split.validation[0], split.evidence[0]))
    monkeypatch.setattr(
        Dataset, "validation", property(lambda self: rows_between(self.panel, self.rows, closer.validation))
    )
    assert "label_end" in fitted(dataset, evidence, [closer])


def test_a_model_that_says_its_training_ended_before_its_labels_did_is_caught(dataset, evidence, monkeypatch):
    monkeypatch.setattr(Split, "trained_until", property(lambda self: self.validation[1] - 1))
    assert fitted(dataset, evidence) == {"trained_until"}


def test_a_fold_that_nobody_trained_is_no_evidence(dataset, evidence):
    assert "label_end" in fitted(dataset, evidence.assign(fold=7))


def test_a_row_that_is_judged_twice_is_caught(dataset, evidence):
    twice = pd.concat([evidence, evidence.iloc[:1]], ignore_index=True)
    assert fitted(dataset, twice) == {"repeated_rows"}


def test_leaving_out_rows_that_went_wrong_is_caught(dataset, evidence):
    assert fitted(dataset, evidence[evidence["direction"] != 0]) == {"selected_rows"}


def test_training_bars_that_come_again_under_later_sessions_are_caught(bars):
    days = np.sort(bars["session"].unique())
    again = bars.copy()
    mine, late = again["symbol"] == "S00000", days[-60]
    again = again[~(mine & (again["session"] >= late))]
    source = bars[mine & (bars["session"] < late)]
    source = source[source["session"].isin(days[40:100])]
    moved = dict(zip(days[40:100], days[-60:], strict=True))
    copied = source.assign(session=source["session"].map(moved).astype(bars["session"].dtype))
    repeated = pd.concat([again, copied]).sort_values(["symbol", "session"], ignore_index=True)
    dataset = dataset_of(repeated)
    assert "repeated_windows" in fitted(dataset, evidence_of(dataset))


def test_standardising_over_the_judged_sessions_too_is_caught(dataset, evidence, monkeypatch):
    honest = Standardisation.of.__func__
    every = classmethod(lambda cls, summaries, rows: honest(cls, summaries, np.arange(len(summaries))))
    monkeypatch.setattr(Standardisation, "of", every)
    assert fitted(dataset, evidence) == {"refit"}


def test_scales_from_the_judged_sessions_are_caught_by_name(dataset, evidence, monkeypatch):
    monkeypatch.setattr(Dataset, "train", property(lambda self: self.rows))
    checks = fitted_checks(dataset, Sample.of(dataset), dataset.plan.splits, evidence)
    assert failed(checks) == {"label_end", "trained_until", "refit", "repeated_windows"}
    assert "scales" in next(check.why for check in checks if check.name == "refit")


def test_baselines_that_are_fitted_on_the_rows_that_they_forecast_are_caught_by_name(dataset, evidence, monkeypatch):
    def knowing(panel, targets, parts, *arguments):
        return baselines(panel, targets, [(rows, rows) for _, rows in parts], *arguments)

    monkeypatch.setattr("models.leaks.fitted.baselines", knowing)
    checks = fitted_checks(dataset, Sample.of(dataset), dataset.plan.splits, evidence)
    assert failed(checks) == {"refit"}
    assert "moved: baselines (" in next(check.why for check in checks if check.name == "refit")


# What no structure shows


def test_volume_that_tells_the_outcome_is_caught_by_name(bars, dataset):
    known = dataset.target_frame()[["symbol", "session", "direction"]]
    told = bars.merge(known, on=["symbol", "session"], how="left")
    told["volume"] *= np.exp(3 * told.pop("direction").fillna(0.5))
    leaking = dataset_of(told)
    check = single_feature(leaking, Sample.of(leaking), evidence_of(leaking))
    assert not check.passed
    assert "volume_change" in check.why


def test_a_feature_that_ranks_the_wrong_way_round_is_a_leak_as_well(dataset, evidence):
    reversed_ = evidence.assign(direction=1 - known_from_features(dataset, evidence))
    assert not single_feature(dataset, Sample.of(dataset), reversed_).passed


def known_from_features(dataset, evidence) -> pd.Series:
    """Whether a row's last return was above the day's median."""
    panel = dataset.panel
    close = pd.Series(panel.bars[:, 3].astype(float)).where(panel.present)
    returns = close.groupby(panel.series).pct_change(fill_method=None).to_numpy()[dataset.evidence]
    frame = evidence.assign(last=returns)
    return (frame["last"] > frame.groupby("session")["last"].transform("median")).astype(float)


def test_an_absent_bar_that_tells_the_outcome_is_caught(bars):
    panel = build_panel(bars, CONFIG.data)
    targets = compute_targets(panel, CONFIG.targets)
    rng = np.random.default_rng(0)
    gone = (targets.direction == 0) & (rng.random(len(targets.direction)) < 0.3)
    rows = np.flatnonzero(gone)
    days = panel.sessions.astype("datetime64[s]")
    # The bar before is taken away, so that the row itself is still there to be judged.
    before = days[np.maximum(panel.session[rows] - 1, 0)]
    lost = pd.DataFrame({"symbol": panel.symbol_of(rows), "session": before})
    keyed = bars.merge(lost.drop_duplicates(), on=["symbol", "session"], how="left", indicator=True)
    config = CONFIG.model_copy(update={"data": CONFIG.data.model_copy(update={"min_present": 0.5})})
    kept = keyed[keyed.pop("_merge") == "left_only"].reset_index(drop=True)
    leaking = Dataset.of(kept, build_panel(kept, config.data).market, config)
    check = single_feature(leaking, Sample.of(leaking), evidence_of(leaking))
    assert not check.passed


def test_a_symbol_that_is_listed_late_has_nothing_to_compare_before(bars):
    days = np.sort(bars["session"].unique())
    few = bars["symbol"].isin(["S00000", "S00001"])
    late = bars[few | (bars["session"] >= days[100])].reset_index(drop=True)
    dataset = dataset_of(late)
    assert not causality(dataset, evidence_of(dataset))


def test_a_universe_too_small_for_a_market_is_measured_as_it_is():
    """Seven pairs of a crypto exchange: noise in the place of a market return would make their labels relative."""
    settings = MarketSettings(symbols=7, sessions=240, edge=0)
    few = dataset_of(synthetic_market(settings, horizon=3).bars)
    assert not few.panel.relative
    assert fitted(few, evidence_of(few)) == set()


@pytest.mark.parametrize("age", [180, 270])
def test_a_refit_keeps_to_the_splits_of_the_night(make_market, age):
    """Four symbols in two segments and one that came late: noise shortens what is usable of the sample alone."""
    bars = make_market(n_symbols=5, n_sessions=900)
    sessions, symbols = np.sort(bars["session"].unique()), bars["symbol"].unique()
    unsplit = (bars["symbol"] != symbols[4]) & (bars["session"] < sessions[300])
    bars.loc[unsplit, ["open", "high", "low", "close"]] *= 3
    bars.loc[unsplit, "volume"] /= 3
    bars = bars[(bars["symbol"] != symbols[4]) | (bars["session"] >= sessions[-age])].reset_index(drop=True)
    config = RetrainConfig()
    dataset = Dataset.of(bars, build_panel(bars, config.data).market, config)
    checks = fitted_checks(dataset, Sample.of(dataset), dataset.plan.splits, evidence_of(dataset))
    assert "refit" not in failed(checks)


# Small universes


def small(n_symbols: int, seed: int = 1) -> tuple[Dataset, pd.DataFrame]:
    """Two years judged of a market without an edge."""
    config = CONFIG.model_copy(update={"gate": CONFIG.gate.model_copy(update={"evidence_sessions": 200})})
    found = synthetic_market(MarketSettings(symbols=max(n_symbols, 2), sessions=750, edge=0, seed=seed), horizon=3).bars
    found = found[found["symbol"].isin(sorted(found["symbol"].unique())[:n_symbols])]
    dataset = Dataset.of(found, build_panel(found, config.data).market, config)
    return dataset, evidence_of(dataset)


@pytest.mark.parametrize("n_symbols", [2, 5])
def test_what_the_best_feature_of_a_small_market_knows_by_luck_is_no_leak(n_symbols):
    """With few symbols many features lie beyond the bound of large markets."""
    markets = [small(n_symbols, seed) for seed in range(1, 7)]
    checks = [single_feature(dataset, Sample.of(dataset), evidence) for dataset, evidence in markets]
    assert sum(check.value > CONFIG.gate.suspicious_auc for check in checks) >= 2
    assert not failed(checks)


def test_a_feature_that_knows_the_answer_of_a_small_market_is_a_leak(monkeypatch):
    dataset, evidence = small(5)

    def answer(panel, start, stop, averages):
        ahead = np.nan_to_num(compute_targets(panel, CONFIG.targets).direction[start:stop], nan=0.5)
        averages[:, 0] = 1e-3 * (ahead[:, None] - 0.5)
        return averages

    with_summaries(monkeypatch, answer)
    assert not single_feature(dataset, Sample.of(dataset), evidence).passed


def test_of_one_symbol_no_feature_can_be_ranked_and_none_is_accused():
    dataset, evidence = small(1)
    checks = {check.name: check for check in leak_checks(dataset, dataset.plan.splits, evidence)}
    for name in ("single_feature", "market_return"):
        assert checks[name].passed
        assert checks[name].why.startswith("not asked: ")


def test_a_market_of_which_one_series_alone_is_unbroken_is_checked():
    found = synthetic_market(MarketSettings(symbols=24, sessions=240, edge=0), horizon=3).bars
    symbols, sessions = np.sort(found["symbol"].unique()), np.sort(found["session"].unique())
    halved = found["symbol"].isin(symbols[1:]) & (found["session"] >= sessions[120])
    found.loc[halved, ["open", "high", "low", "close"]] /= 7.0
    dataset = dataset_of(found)
    assert dataset.panel.relative
    assert len(dataset.panel.segments) == 24 + 23
    checks = leak_checks(dataset, dataset.plan.splits, evidence_of(dataset))
    assert next(check for check in checks if check.name == "refit").passed
