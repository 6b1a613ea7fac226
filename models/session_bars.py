"""Session bars from bars of a part of a session: what is first, highest, lowest, last and the sum of those that came.

A session that was delivered in parts has as many bars as there are moments at which more of it became known; each is
made of all parts known then, so that the order in which they come decides nothing.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.calendar import Calendar, SessionArray, Times
from models.panel import PRICES

Minutes = npt.NDArray[np.float64]

KEY: Final = ["symbol", "session"]
NEUTRAL: Final = {"split_ratio": 1.0, "dividend": 0.0}
"""What sources write where there was none; the first other value of a session is the session's."""
_LONGEST_MINUTES: Final = 12 * 60


def usual_spacing(symbol: "pd.Series[str]", days: SessionArray, instants: Times) -> float | None:
    """The most frequent time between neighbouring bars of a symbol and day, in minutes; of equals the shortest.

    Args:
        symbol: (n_rows,).
        days: (n_rows,) date at the exchange.
        instants: (n_rows,) UTC.

    Returns:
        None where no symbol has two different times in a day: these are daily bars.
    """
    codes, _ = pd.factorize(symbol)
    order = np.lexsort((instants, days, codes))
    codes, days, instants = codes[order], days[order], instants[order]
    spacing = np.diff(instants)[(np.diff(codes) == 0) & (days[1:] == days[:-1])] / np.timedelta64(1, "m")
    found, counts = np.unique(spacing[spacing > 0], return_counts=True)
    return float(found[np.argmax(counts)]) if len(found) else None


def is_part_of_a_session(minutes: float | None) -> bool:
    """Whether bars of this length are parts of a session; two stamps of one day further apart are no bar length."""
    return minutes is not None and minutes <= _LONGEST_MINUTES


def moments(rows: pd.DataFrame, parts: pd.DataFrame) -> pd.DataFrame:
    """When something of the sessions of these rows became known, from the first of them on.

    Args:
        rows: (n_rows,) `symbol, session, known_at` of a delivery.
        parts: Likewise, of all parts that count.

    Returns:
        `symbol, session, known_at` of the parts, each once, by session, symbol and moment.
    """
    since = rows.groupby(KEY, sort=False)["known_at"].min().rename("since").reset_index()
    known = parts[[*KEY, "known_at"]].drop_duplicates().merge(since, on=KEY)
    later = known.loc[known["known_at"] >= known["since"], [*KEY, "known_at"]]
    return later.sort_values(["session", "symbol", "known_at"], ignore_index=True)


def bars_at(asked: pd.DataFrame, parts: pd.DataFrame, calendar: Calendar) -> pd.DataFrame:
    """The bar of each symbol and session as its parts known at each moment make it.

    Args:
        asked: (n_bars,) `symbol, session, known_at`; for each there is a part known by then.
        parts: `symbol, session, timestamp, known_at, delivery, sequence, minutes`, prices, volume and optional columns.
            Of two parts of one time the one known later counts, of these the one delivered later.
        calendar: Hours of the exchange, for `coverage`.

    Returns:
        (n_bars,) canonical bars with `coverage`, `known_at`, and of the latest delivery that contributed `delivery` and
        `sequence`.
    """
    joined = asked.reset_index(names="bar").rename(columns={"known_at": "moment"}).merge(parts, on=KEY)
    joined = joined[joined["known_at"] <= joined["moment"]]
    joined = joined.sort_values(["bar", "timestamp", "known_at", "sequence"], kind="stable")
    joined = joined.drop_duplicates(["bar", "timestamp"], keep="last").reset_index(drop=True)
    latest = joined.loc[joined.groupby("bar")["sequence"].idxmax(), ["delivery", "sequence"]]
    bars = aggregated(joined, joined["bar"].to_numpy(np.int64), calendar)
    return bars.assign(
        known_at=asked["known_at"], delivery=latest["delivery"].to_numpy(), sequence=latest["sequence"].to_numpy()
    )


def whole_bars(
    rows: pd.DataFrame, earlier: pd.DataFrame, minutes: float, calendar: Calendar
) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """The session bars that a delivery makes together with what came before it; of one time its own rows count.

    Args:
        rows: (n_rows,) sound intraday bars of the delivery.
        earlier: Stored ones of the same symbols and sessions; others do no harm.
        minutes: Length of the delivered bars.
        calendar: Hours of the exchange.

    Returns:
        Bars as `aggregated` gives them with `most_volume`, the largest of their parts; (n_rows,) the bar of each row.
    """
    if not len(rows):
        return rows.assign(most_volume=rows["volume"], coverage=1.0), np.zeros(0, np.int64)
    bar = np.asarray(rows.groupby(KEY).ngroup(), np.int64)
    parts = rows.assign(bar=bar, minutes=minutes, mine=True)
    if len(earlier):
        named = parts[[*KEY, "bar"]].drop_duplicates()
        parts = pd.concat([earlier.assign(mine=False).merge(named, on=KEY), parts], ignore_index=True)
    parts = parts.sort_values(["bar", "timestamp", "mine"], kind="stable")
    parts = parts.drop_duplicates(["bar", "timestamp"], keep="last").reset_index(drop=True)
    bars = aggregated(parts, parts["bar"].to_numpy(np.int64), calendar)
    return bars.assign(most_volume=parts.groupby("bar")["volume"].max().to_numpy()), bar


def aggregated(parts: pd.DataFrame, bar: npt.NDArray[np.int64], calendar: Calendar) -> pd.DataFrame:
    """One bar from the parts of each session.

    Args:
        parts: (n_parts,) by bar and time, no time twice: `symbol, session, timestamp, minutes`, prices, volume…
        bar: (n_parts,) ascending, which bar each part belongs to.
        calendar: Hours of the exchange.

    Returns:
        One row a bar: `symbol, session, timestamp` (the session at 00:00), first open, highest high, lowest low, last
        close, sum of the volumes, and `coverage`, see `coverage_of`. The first stated split and dividend, the last
        adjusted close, where there are such columns.
    """
    starts = np.flatnonzero(np.diff(bar, prepend=-1))
    ends = np.append(starts, len(bar))[1:] - 1
    first, last = parts.iloc[starts], parts.iloc[ends]
    days = first["session"].to_numpy("datetime64[us]")
    opening, high, low, close = (parts[name].to_numpy(np.float64) for name in PRICES)
    columns = {
        "symbol": first["symbol"].to_numpy(),
        "session": first["session"].to_numpy(),
        "timestamp": pd.Series(days).dt.tz_localize("UTC"),
        "open": opening[starts],
        "high": np.maximum.reduceat(high, starts),
        "low": np.minimum.reduceat(low, starts),
        "close": close[ends],
        "volume": np.add.reduceat(parts["volume"].to_numpy(np.float64), starts),
        "coverage": coverage_of(parts, starts, ends, calendar),
    }
    if "adj_close" in parts:
        columns["adj_close"] = last["adj_close"].to_numpy()
    for name in NEUTRAL.keys() & set(parts):
        columns[name] = _first_stated(parts[name], bar, NEUTRAL[name])
    return pd.DataFrame(columns)


def coverage_of(
    parts: pd.DataFrame, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], calendar: Calendar
) -> Minutes:
    """Share of each session that its parts cover, 0 … 1.

    Of the minutes in which the exchange trades, those within the bars that came; early closes and lunch breaks are no
    minutes of trading. In a market around the clock minutes without a trade are normal, and sources leave their bars
    out: there everything from the first bar's start to the last one's end is covered.

    Args:
        parts: (n_parts,) `session, timestamp, minutes`, sorted by bar and time.
        starts: (n_bars,) first part of each bar.
        ends: (n_bars,) last part of each bar.
        calendar: Hours of the exchange.
    """
    begins = parts["timestamp"].to_numpy("datetime64[us]")
    stops = begins + (parts["minutes"].to_numpy(np.float64) * 60e6).astype("timedelta64[us]")
    days = parts["session"].to_numpy("datetime64[D]")
    whole = calendar.hours(days[starts])
    if calendar.around_the_clock:
        covered = whole.minutes_of(begins[starts], stops[ends])
    else:
        in_hours = calendar.hours(days).minutes_of(begins, stops)
        covered = np.add.reduceat(np.nan_to_num(in_hours), starts)
    # rows outside the hours of a day without any can be let in by configuration
    shares = np.divide(covered, whole.minutes, out=np.zeros(len(starts)), where=whole.minutes > 0)
    coverage: Minutes = np.minimum(np.nan_to_num(shares), 1.0)
    return coverage


def _first_stated(column: "pd.Series[float]", bar: npt.NDArray[np.int64], neutral: float) -> Minutes:
    stated = column.where(column != neutral).groupby(bar).first()
    return np.asarray(stated.fillna(column.groupby(bar).first()), np.float64)
