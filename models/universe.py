"""Who belongs to the universe on a session: by a list, by a rule, or both.

Membership is a fact about one bar and the ones before it, so it is point in time: a name that is thin today belongs in
the sessions in which it was not, and a list says when each name came and went. Bars of other names stay in the panel,
since a window may reach back into a time before its name belonged; no model learns from their rows, nobody is scored on
them, and the market's return does not count them.
"""

import io
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from models.bar_sequence import row_medians
from models.calendar import Calendar
from models.config import DataConfig, UniverseConfig
from models.errors import ConfigError
from models.locations import open_at, reaching

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

TRADED_SESSIONS: Final = 21
"""Sessions whose bars say what is usually traded in a symbol."""
_BLOCK: Final = 1 << 16
_FIRST, _LAST = np.datetime64("1677-10-01", "D"), np.datetime64("2262-04-01", "D")


def sessions_before(universe: UniverseConfig) -> int:
    """Sessions before a bar that its membership looks at."""
    return max(universe.min_history, TRADED_SESSIONS if universe.min_dollar_volume > 0 else 0)


def members(bars: pd.DataFrame, data: DataConfig) -> BoolArray:
    """Whether the name of each bar belongs to the universe on the bar's session.

    Args:
        bars: (n,) canonical bars of all names, sorted by symbol and session, at most one row each. What lies before
            them counts as absent.
        data: The universe, and the share of sessions that counts as having been there.

    Returns:
        (n,) by the bar and those of the `sessions_before` before it.

    Raises:
        ConfigError: the list cannot be read.
    """
    universe = data.universe
    symbol, names = pd.factorize(bars["symbol"])
    days = bars["session"].to_numpy("datetime64[D]")
    session = np.unique(days, return_inverse=True)[1]
    member = np.ones(len(bars), bool)
    if universe.min_history:
        asked = np.ceil(data.min_present * universe.min_history - 1e-9)
        member &= _bars_seen(symbol, session, universe.min_history) >= asked
    if universe.min_dollar_volume > 0:
        traded = bars["close"].to_numpy(np.float64) * bars["volume"].to_numpy(np.float64)
        member &= _usual(traded, symbol, session) >= universe.min_dollar_volume
    if universe.file is not None:
        member &= _listed(symbol, np.asarray(names, dtype=np.str_), days, read_list(universe.file))
    return member


def members_on(bars: pd.DataFrame, session: date) -> int:
    """Symbols with a bar of a session that belong to the universe then."""
    of_it = bars["session"].to_numpy("datetime64[D]") == np.datetime64(session, "D")
    return int(of_it.sum() if "member" not in bars else bars.loc[of_it, "member"].sum())


def nobody_belongs(session: date, universe: UniverseConfig) -> str:
    """In words, that a universe leaves out every symbol of a session, and what to look at."""
    return (
        f"nobody belongs to the universe on {session}: no symbol with a bar of it satisfies data.universe "
        f"({universe.in_words}). Compare the symbols and dates of the list with those of the bars, and what the rules "
        f"ask with how long and how much is traded"
    )


def ended_series(bars: pd.DataFrame, session: date, data: DataConfig) -> "pd.Series[bool]":
    """Symbol → whether its last bar lies further back than an absence may last: delisted, or no longer delivered.

    Args:
        bars: `symbol` and `session` of all names, later sessions left out.
        session: Seen from here.
        data: The calendar, and how long an absence may last.
    """
    last = bars.groupby("symbol", sort=False)["session"].max()
    since = Calendar.of(data).after(session, -data.gap_sessions)
    return last < pd.Timestamp(since)


def read_list(place: str) -> pd.DataFrame:
    """A list of who belongs and when.

    Args:
        place: Path or URI of a CSV with the column `symbol` and, where membership has an end, `from` and `until`: the
            first and the last session. A name may stand in several lines. `NA` is a symbol; only an empty
            field is none.

    Returns:
        `symbol, from, until`, datetime64[s], open ends far away.

    Raises:
        ConfigError: it cannot be read, or is no such list.
    """
    try:
        with reaching(place), open_at(place) as file:
            content = file.read()
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"data.universe.file = {place!r} cannot be read ({type(error).__name__}: {error}). Put the list of members "
            f"there, or name another place."
        ) from error
    try:
        return _members_listed(content)
    except ValueError as error:
        raise ConfigError(
            f"data.universe.file = {place!r} is no list of members: {error}. Name a CSV with the column symbol and, "
            f"for names that came or went, from and until as YYYY-MM-DD."
        ) from error


def _members_listed(content: bytes) -> pd.DataFrame:
    rows = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    rows = rows.rename(columns=lambda name: name.strip().lower())
    if not isinstance(rows.index, pd.RangeIndex) or rows.columns.has_duplicates:
        raise ValueError("its lines have more fields than the header, or the header names a column twice")
    if "symbol" not in rows:
        raise ValueError(f"its columns are {', '.join(rows.columns)}")
    rows = rows.apply(lambda column: column.str.strip())
    listed = pd.DataFrame({"symbol": rows["symbol"]})
    for column, open_end in (("from", _FIRST), ("until", _LAST)):
        written = rows[column] if column in rows else pd.Series("", index=rows.index)
        days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")
        if (wrong := written[days.isna() & (written != "")]).size:
            raise ValueError(f"{column} of {rows['symbol'][wrong.index[0]]} is {wrong.iloc[0]!r}")
        listed[column] = days.fillna(pd.Timestamp(open_end)).astype("datetime64[s]")
    if unread := [name for name in rows if name not in listed and _holds_dates(rows[name])]:
        raise ValueError(f"there are dates in its column {', '.join(unread)}, and only from and until are read")
    listed = listed[listed["symbol"] != ""]
    if (backwards := listed[listed["from"] > listed["until"]]).size:
        names = ", ".join(backwards["symbol"].head(5))
        raise ValueError(f"from is later than until in {len(backwards)} of its lines ({names})")
    return listed


def _holds_dates(column: "pd.Series[str]") -> bool:
    return bool(pd.to_datetime(column, format="%Y-%m-%d", errors="coerce").notna().any())


def _bars_seen(symbol: IntArray, session: IntArray, n_sessions: int) -> IntArray:
    """(n,) bars of the same symbol in so many last sessions, this one included."""
    width = int(session.max(initial=0)) + 1 + n_sessions
    place = symbol.astype(np.int64) * width + n_sessions + session
    seen: IntArray = np.arange(1, len(place) + 1) - np.searchsorted(place, place - n_sessions, side="right")
    return seen


def _usual(traded: FloatArray, symbol: IntArray, session: IntArray) -> FloatArray:
    """(n,) median over the bars of the same symbol in the last `TRADED_SESSIONS` sessions, this one included."""
    usual = np.empty(len(traded))
    for start in range(0, len(traded), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(traded)))
        back = rows[:, None] + np.arange(1 - TRADED_SESSIONS, 1)
        inside = back >= 0
        back = np.maximum(back, 0)
        inside &= (symbol[back] == symbol[rows][:, None]) & (session[back] > session[rows][:, None] - TRADED_SESSIONS)
        usual[rows] = row_medians(np.where(inside, traded[back], np.nan), fewest=1)
    return usual


def _listed(
    symbol: IntArray, names: npt.NDArray[np.str_], days: npt.NDArray[np.datetime64], listed: pd.DataFrame
) -> BoolArray:
    member = np.zeros(len(symbol), bool)
    starts = np.searchsorted(symbol, np.arange(len(names) + 1))
    code = {name: number for number, name in enumerate(names)}
    for name, first, last in listed.itertuples(index=False):
        if name in code:
            rows = slice(starts[code[name]], starts[code[name] + 1])
            member[rows] |= (days[rows] >= np.datetime64(first, "D")) & (days[rows] <= np.datetime64(last, "D"))
    return member
