"""From a delivered file to stored facts: how many rows a second, and does a large store make a small night slow?

Run: `python -m benchmarks.deliveries`. A delivery of a million bars, sound and with 30 % of its rows broken, then
tonight's bars on top of 20 million, and the memory that it takes to read all of these.
"""

import json
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from deltalake import DeltaTable

from benchmarks.measuring import GIB, Result, Row, Sample, in_own_process, in_turns, main, peak_memory, seconds
from expectations.bars import check_bars
from expectations.gx import load_great_expectations
from models.calendar import Calendar
from models.config import RetrainConfig
from models.locations import Locations
from models.store import BarsStore
from tasks.ingest import bring_in

ROUNDS: Final = 3
SYMBOLS, SESSIONS = 1000, 1000
BROKEN: Final = 0.3
REACH: Final = 200_000.0
STORED: Final = 20
"""Millions of bars in the large store."""
NAMES: Final = 500
"""Symbols of each million."""
NIGHT_S: Final = 2.0
NOW: Final = datetime(2024, 6, 1, tzinfo=UTC)
CALENDAR: Final = Calendar("XNYS")
PRICES: Final = ["open", "high", "low", "close"]
READS: Final = ("--read-by-pandas", "--read")


def measure() -> Result:
    """Rows a second of whole deliveries, and seconds of a night on a small and on a large store."""
    load_great_expectations()
    sound, broken = delivery(SYMBOLS, SESSIONS), delivery(SYMBOLS, SESSIONS, BROKEN)
    with tempfile.TemporaryDirectory(prefix="deliveries-") as directory:
        place = Path(directory)
        rows = [
            _ingest("ingest CSV, all sound", sound, place, "csv"),
            _ingest("ingest Parquet, all sound", sound, place, "parquet"),
            _ingest(f"ingest CSV, {BROKEN:.0%} broken", broken, place, "csv"),
            _validate(f"contract of bars, {BROKEN:.0%} broken", broken),
        ]
        growth, notes = _growth(place)
    return Result(
        name="deliveries",
        question="How fast does a delivery become facts, and does it stay fast as the store grows?",
        baseline="plain pandas: read the file, the same rules of rows and history as masks, write what is sound to "
        "Parquet; no account, no quarantine, no revisions, no Data Docs. For growth: the same night on an empty store. "
        "For reading: one frame of all rows, sorted, the last of each symbol and session kept",
        sizes=f"{len(sound):,} bars of {SYMBOLS:,} symbols in one delivery; {STORED} million stored and "
        f"{NAMES * STORED:,} delivered; {ROUNDS} rounds in turns",
        rows=(*rows, *growth),
        notes=(
            f"Asked of each delivery: {REACH:,.0f} rows/s.",
            *notes,
            f"Peak of memory: {peak_memory() / GIB:.1f} GiB.",
        ),
    )


def delivery(
    symbols: int, sessions: int, broken: float = 0.0, first: int = 0, until: str = "2024-01-01"
) -> pd.DataFrame:
    """Synthetic bars as a source would write them; a share of the rows breaks one of three rules.

    Args:
        symbols: Their number.
        sessions: The last so many before `until`.
        broken: Share of rows.
        first: Number of the first symbol.
        until: First day that is not delivered.
    """
    drawn = np.random.default_rng(first)
    days = CALENDAR.sessions[CALENDAR.sessions < np.datetime64(until)][-sessions:]
    close = 50 * np.exp(np.cumsum(drawn.normal(0, 0.02, (symbols, len(days))), axis=1))
    opening = close * (1 + drawn.normal(0, 0.005, close.shape))
    bars = pd.DataFrame(
        {
            "symbol": np.repeat([f"S{number:05d}" for number in range(first, first + symbols)], len(days)),
            "timestamp": np.tile(days.astype("datetime64[s]"), symbols),
            "open": opening.ravel(),
            "high": (1.01 * np.maximum(opening, close)).ravel(),
            "low": (0.99 * np.minimum(opening, close)).ravel(),
            "close": close.ravel(),
            "volume": drawn.integers(100_000, 1_000_000, close.size).astype(float),
        }
    )
    bars[PRICES] = bars[PRICES].round(4)
    fault = np.where(drawn.random(len(bars)) < broken, drawn.integers(0, 3, len(bars)), -1)
    bars.loc[fault == 0, "open"] = 0.0
    bars.loc[fault == 1, "high"] = bars["low"] / 2
    bars.loc[fault == 2, "volume"] = -1.0
    return bars


def _ingest(case: str, bars: pd.DataFrame, place: Path, kind: str) -> Row:
    path = place / f"delivery.{kind}"
    bars.to_csv(path, index=False) if kind == "csv" else bars.to_parquet(path)

    def ours() -> None:
        with tempfile.TemporaryDirectory(dir=place) as home:
            account = bring_in(str(path), _config(Path(home)), None, NOW).account
        if account.delivered != len(bars):
            raise ValueError(f"{account.delivered} rows accounted for, {len(bars)} delivered")

    theirs, own = in_turns(ROUNDS, lambda: _by_pandas(path, place), ours)
    return Row.of_rates(case, "rows/s", theirs.per(len(bars)), own.per(len(bars)))


def _by_pandas(path: Path, place: Path) -> None:
    bars = pd.read_csv(path, parse_dates=["timestamp"]) if path.suffix == ".csv" else pd.read_parquet(path)
    bars[~pandas_rules(bars)].to_parquet(place / "sound.parquet")


def pandas_rules(bars: pd.DataFrame) -> "pd.Series[bool]":
    """Rows that break a rule of level quarantine; what is only told is computed as well."""
    prices = bars[PRICES]
    broken = bars[["symbol", "timestamp", *PRICES, "volume"]].isna().any(axis=1)
    broken |= ~bars["symbol"].str.fullmatch(r"[A-Za-z0-9.^=+:$ _-]{1,32}")
    broken |= bars[[*PRICES, "volume"]].isin([np.inf, -np.inf]).any(axis=1)
    broken |= prices.min(axis=1) <= 0
    slack = 1 + 1e-6
    broken |= bars["high"] * slack < prices.max(axis=1)
    broken |= bars["low"] > slack * prices.min(axis=1)
    broken |= bars["volume"] < 0
    broken |= bars.duplicated(["symbol", "timestamp"], keep=False) & ~bars.duplicated(keep=False)
    broken |= bars["timestamp"] > pd.Timestamp(NOW).tz_localize(None)
    broken |= ~bars["timestamp"].isin(CALENDAR.sessions)
    ordered = bars[~broken].sort_values(["symbol", "timestamp"])
    by_symbol = ordered.groupby("symbol", sort=False)
    told = by_symbol["close"].pct_change().abs() > 0.4
    same = (by_symbol[PRICES].shift() == ordered[PRICES]).all(axis=1)
    told |= same.groupby((~same).cumsum()).cumsum() > 4
    told |= ordered["volume"] >= 2_147_483_647
    if int(told.sum()) < 0 or ordered.groupby("timestamp").size().empty:
        raise ValueError("pandas told nothing")
    return broken


def _validate(case: str, bars: pd.DataFrame) -> Row:
    canonical = bars.assign(
        session=bars["timestamp"].astype("datetime64[s]"),
        timestamp=bars["timestamp"].astype("datetime64[us]").dt.tz_localize("UTC"),
    )
    config = RetrainConfig()

    def ours() -> None:
        report = check_bars(
            canonical, canonical.iloc[:0], calendar=CALENDAR, contract=config.contract, source=config.source, now=NOW,
            name="delivery", docs=None,
        )  # fmt: skip
        if (report.broken != "").sum() != expected:
            raise ValueError("the two find other rows")

    expected = int(pandas_rules(bars).sum())
    theirs, own = in_turns(ROUNDS, lambda: pandas_rules(bars), ours)
    return Row.of_rates(case, "rows/s", theirs.per(len(bars)), own.per(len(bars)))


def _growth(place: Path) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    large = _config(place / "large")
    load_s = []
    for block in range(STORED):
        path = place / "history.parquet"
        delivery(NAMES, 1_000_000 // NAMES, first=NAMES * block).to_parquet(path)
        load_s.append(seconds(partial(bring_in, str(path), large, None, NOW)))
    whole = BarsStore(Locations(large.storage))
    sessions = CALENDAR.sessions[CALENDAR.sessions >= np.datetime64("2024-01-01")][: 2 * ROUNDS]
    small_s, large_s = [], []
    for number in range(ROUNDS):
        until = str(sessions[number + 1])
        path = place / f"night-{until}.csv"
        tonight = [delivery(NAMES, 1, first=NAMES * block, until=until) for block in range(STORED)]
        pd.concat(tonight).to_csv(path, index=False)
        small_s.append(seconds(partial(bring_in, str(path), _config(place / f"small-{number}"), None, NOW)))
        large_s.append(seconds(partial(bring_in, str(path), large, None, NOW)))
    recent_s = seconds(partial(whole.as_known, NOW, first=sessions[0].item()))
    base, ours = Sample(values=tuple(small_s)), Sample(values=tuple(large_s))
    growth = Row.of_times(f"a night's {NAMES * STORED:,} rows onto {STORED} million", base, ours)
    return (growth, *_read_whole(place / "large")), (
        f"Loading its history a million bars at a time took {load_s[0]:.1f} s for the first and {load_s[-1]:.1f} s for "
        f"the last.",
        f"On the large store a night's delivery took {ours} s ({NIGHT_S:g} asked), and its last sessions were read in "
        f"{recent_s:.2f} s.",
    )


def _read_whole(home: Path) -> tuple[Row, ...]:
    ways = {way: [in_own_process("benchmarks.deliveries", way, str(home)) for _ in range(ROUNDS)] for way in READS}
    theirs, own = (
        {what: Sample(values=tuple(one[what] for one in ways[way])) for what in ("seconds", "memory")} for way in READS
    )
    return (
        Row.of_times(f"all {STORED} million bars as known: by pandas", theirs["seconds"], own["seconds"]),
        Row(
            case=f"all {STORED} million bars as known: most memory, in multiples of what is returned",
            unit="",
            baseline=theirs["memory"],
            ours=own["memory"],
            ratio=theirs["memory"].over(own["memory"]),
        ),
    )


def read_whole(way: str, home: Path) -> dict[str, float]:
    """Seconds and memory of reading every bar, in a process that has done nothing else."""
    before, found = peak_memory(), []
    store = BarsStore(Locations(_config(home).storage))
    took = seconds(lambda: found.append(store.as_known(NOW) if way == "--read" else as_known_by_pandas(store)))
    return {"seconds": took, "memory": (peak_memory() - before) / found[0].memory_usage(deep=True).sum()}


def as_known_by_pandas(store: BarsStore) -> pd.DataFrame:
    """The same bars, by one frame of all rows."""
    columns = ["symbol", "session", "timestamp", "known_at", "open", "high", "low", "close", "volume"]
    rows = DeltaTable(store.locations.table("bars")).to_pandas(columns=columns, filters=[("known_at", "<=", NOW)])
    rows = rows.sort_values(["symbol", "session", "known_at"])
    last: pd.DataFrame = rows.drop_duplicates(["symbol", "session"], keep="last", ignore_index=True)
    return last.drop(columns="known_at")


def _config(home: Path) -> RetrainConfig:
    return RetrainConfig.model_validate({"storage": {"home": str(home)}})


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in READS:
        print(json.dumps(read_whole(sys.argv[1], Path(sys.argv[2]))))
    else:
        main(measure, "deliveries")
