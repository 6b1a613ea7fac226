"""Delivered columns → typed arrays, a whole column at a time; what cannot be read is marked, never raised."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.datetime64]

_NUMBER = r"(?i)^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$|^[+-]?inf(inity)?$"
_MISSING = pa.array(["", "na", "n/a", "nan", "null", "none"])
_OFFSET_ALONE = r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?)$"
_OFFSET = r"[T\s]\d{2}[\d:.,]*" + _OFFSET_ALONE  # only behind a time of day: the -01 of 2024-07-01 is none
_DAY = r"^\d{4}-?\d{2}-?\d{2}(?!\d)"  # a year or a month alone is ISO 8601 too, but names no session
_FIRST, _LAST = pd.Timestamp("1700-01-01"), pd.Timestamp("2200-01-01")
"""Stamps beyond these are slips of the pen; inside them every library can convert between zones."""


@dataclass(frozen=True)
class Stamps:
    """Parsed timestamps; NaT where unreadable."""

    days: Times
    """(n,) datetime64[D], the exchange date."""
    instants: Times
    """(n,) datetime64[us], UTC."""
    dated: Mask
    """(n,) whether the stamp is a date: it carries no time of day, or midnight."""

    @property
    def unreadable(self) -> Mask:
        return np.isnat(self.instants)

    def known_by(self, zone: str) -> Times:
        """(n,) UTC: the instant, or 23:59 in this zone where only a date is given."""
        late = pd.Series(self.days).astype("datetime64[us]") + pd.Timedelta(hours=23, minutes=59)
        return np.where(self.dated, _to_utc(late, zone), self.instants)


def numbers(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.float64], Mask]:
    """(n,) float64, NaN where the field is missing, and (n,) whether the field is text that is no number."""
    if not _is_text(column.type):
        return _floats(pc.cast(column, pa.float64(), safe=False)), np.zeros(len(column), np.bool_)
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        return _floats(pc.cast(trimmed, pa.float64())), np.zeros(len(column), np.bool_)
    except pa.ArrowInvalid:
        number = pc.fill_null(pc.match_substring_regex(trimmed, _NUMBER), False)
        missing = pc.is_in(pc.utf8_lower(trimmed), _MISSING)
        values = pc.cast(pc.if_else(number, trimmed, pa.scalar(None, trimmed.type)), pa.float64())
        readable = pc.or_(pc.or_(number, missing), pc.is_null(trimmed))
        return _floats(values), ~_booleans(readable)


def texts(column: pa.ChunkedArray) -> tuple["pd.Series[str]", Mask]:
    """(n,) trimmed text, and (n,) whether there is none."""
    trimmed = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
    nothing = pc.fill_null(pc.equal(trimmed, ""), True)
    return pd.Series(trimmed.to_pandas(), dtype="str"), _booleans(nothing)


def stamps(column: pa.ChunkedArray, pattern: str | None, zone: str, exchange_zone: str) -> Stamps:
    """Dates and times in any of the usual dresses; every distinct value is parsed once.

    Midnight, as written, is a date: the bar's session. Any other time is an instant, and its session is the
    exchange's date at that instant.

    Args:
        column: Text, dates, timestamps with or without a zone, or whole numbers that `pattern` describes.
        pattern: strptime format, or None for ISO 8601.
        zone: Time zone of stamps that carry none.
        exchange_zone: Time zone of the exchange.
    """
    encoded = pc.dictionary_encode(column.combine_chunks())
    position = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    wall, instant = _written(encoded.dictionary, pattern, zone)
    dated = (wall == wall.dt.floor("D")).to_numpy()
    there = instant.dt.tz_localize("UTC").dt.tz_convert(exchange_zone).dt.tz_localize(None)
    days = np.where(dated, wall.to_numpy(), there.to_numpy()).astype("datetime64[D]")
    nothing = np.datetime64("NaT")
    return Stamps(
        np.append(days, nothing.astype("datetime64[D]"))[position],
        np.append(instant.to_numpy().astype("datetime64[us]"), nothing.astype("datetime64[us]"))[position],
        np.append(dated, False)[position],
    )


def _written(
    values: pa.Array, pattern: str | None, zone: str
) -> "tuple[pd.Series[pd.Timestamp], pd.Series[pd.Timestamp]]":
    """The wall time as written and the UTC instant of each distinct stamp, both without zone, in microseconds."""
    if pa.types.is_temporal(values.type):
        return _typed(values, zone)
    text = pd.Series(pc.utf8_trim_whitespace(pc.cast(values, pa.string())).to_pandas(), dtype="str")
    text = text.str.replace(r"(?:UTC|GMT|(?<=\d)z)$", "Z", regex=True)
    pattern = pattern.replace("%Z", "%z") if pattern else None
    if pattern is None:
        text = text.where(text.str.contains(_DAY, regex=True, na=False))
        text = text.str.replace(r"\s+(?=(?:Z|[+-][\d:]+)$)", "", regex=True)
    aware = text.str.contains(_OFFSET_ALONE if pattern and "%z" in pattern else _OFFSET, regex=True, na=False)
    bare = text.str.replace(_OFFSET_ALONE, "", regex=True).where(aware, text)
    wall = _parsed(bare, pattern.replace("%z", "").rstrip() if pattern else None)
    instant = _parsed(text.where(aware), pattern).where(aware, _to_utc(wall, zone))
    return wall.where(instant.notna()), instant.where(wall.notna())


def _typed(values: pa.Array, zone: str) -> "tuple[pd.Series[pd.Timestamp], pd.Series[pd.Timestamp]]":
    carries_zone = pa.types.is_timestamp(values.type) and values.type.tz is not None
    unit = pa.timestamp("us", values.type.tz if carries_zone else None)
    series: pd.Series[pd.Timestamp] = pc.cast(values, unit, safe=False).to_pandas()
    if carries_zone:
        wall = _plausible(series.dt.tz_localize(None))
        return wall, series.dt.tz_convert("UTC").dt.tz_localize(None).where(wall.notna())
    wall = _plausible(series)
    return wall, _to_utc(wall, zone)


def _parsed(text: "pd.Series[str]", pattern: str | None) -> "pd.Series[pd.Timestamp]":
    """What the text says, an offset applied; `utc` also where there is none, since offsets may be mixed."""
    stamps = pd.to_datetime(text, format=pattern or "ISO8601", errors="coerce", utc=True)
    return _plausible(_naive(stamps))


def _plausible(stamps: "pd.Series[pd.Timestamp]") -> "pd.Series[pd.Timestamp]":
    return stamps.where(stamps.between(_FIRST, _LAST))


def _to_utc(wall: "pd.Series[pd.Timestamp]", zone: str) -> Any:
    """Wall time of a zone → UTC without zone; of an hour that comes twice the second is meant."""
    if zone == "UTC":
        return wall
    standard = np.zeros(len(wall), np.bool_)
    return _naive(wall.dt.tz_localize(zone, ambiguous=standard, nonexistent="shift_forward").dt.tz_convert("UTC"))


def _naive(series: "pd.Series[pd.Timestamp]") -> "pd.Series[pd.Timestamp]":
    return series.dt.tz_localize(None).astype("datetime64[us]")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _floats(values: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(values.to_numpy(), dtype=np.float64)


def _booleans(values: pa.ChunkedArray) -> Mask:
    return np.asarray(values.to_numpy(), dtype=np.bool_)
