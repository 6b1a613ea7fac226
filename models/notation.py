"""How numbers, dates and signs are written for people: one place, so that every table and picture agrees."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal

from models.records import Check, Influence

ABSENT = "—"
MINUS = "\N{MINUS SIGN}"
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_MOST_DIGITS = 12


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return ABSENT if _absent(value) else _minus(f"{value:,.0f}")


def fixed(value: float | None, decimals: int = 4) -> str:
    """A number with a fixed count of decimals, for columns that are read downwards."""
    return ABSENT if _absent(value) else _minus(f"{value:,.{decimals}f}")


def significant(value: float | None, digits: int = 4) -> str:
    """A number of unknown size: whole numbers in full, tiny ones as a power of ten, others to some digits."""
    if value is None or _absent(value):
        return ABSENT
    if math.isinf(value) or value == round(value) or abs(value) >= 10**digits:
        return count(value)
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    power = f" × 10{str(int(exponent)).translate(_SUPERSCRIPT)}" if exponent else ""
    return _minus(mantissa) + power


def percent(value: float | None, decimals: int = 1) -> str:
    """A share as a percentage."""
    return ABSENT if value is None or _absent(value) else f"{fixed(100 * value, decimals)} %"


def duration(seconds: float) -> str:
    """Seconds, from a minute upwards minutes and seconds."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def moment(when: datetime) -> str:
    """A point in time to the minute, in UTC."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def passed_or_not(passed: bool) -> str:
    """A sign and a word: neither needs colour."""
    return "✓ pass" if passed else "✗ fail"


def value_and_bound(check: Check) -> tuple[str, str]:
    """The value of a check and its bound, with enough digits to tell them apart."""
    if check.bound is None:
        return significant(check.value), ABSENT
    if isinstance(check.bound, tuple):
        low, high = check.bound
        return significant(check.value), f"{significant(low)} … {significant(high)}"
    digits = _digits_apart(check.value, check.bound)
    return significant(check.value, digits), f"{_side(check)}{significant(check.bound, digits)}"


def shortfall(check: Check) -> str | None:
    """By how much a failed check missed its bound; None where that is no number."""
    if check.passed or check.value is None or check.bound is None:
        return None
    ends = check.bound if isinstance(check.bound, tuple) else (check.bound,)
    return significant(min(abs(check.value - end) for end in ends), digits=3)


def flip(check: Check) -> str | None:
    """What would have let a failed check pass, in words; None where that is no number.

    The change is rounded away from zero, so that the value with the change as it is written does pass.
    """
    change = check.change
    if change is None or check.value is None or check.bound is None:
        return None
    if check.value == check.bound:
        return f"anything above {significant(check.value)} would have passed"
    written = _signed(_rounded_outwards(change, digits=3))
    how = {"above": "more than ", None: "about "}.get(check.asks, "")
    return f"{how}{written} would have passed"


def without(check: Check, heaviest: Iterable[Influence]) -> str:
    """Sessions or symbols and what the check's value is without each: `2020-03-09 (0.5013), 2020-03-12 (0.5006)`."""
    return ", ".join(f"{one.name} ({_unlike(one.value_without, check.value)})" for one in heaviest)


def _unlike(value: float | None, other: float | None) -> str:
    digits = 4 if value is None or other is None else _digits_apart(value, other)
    return significant(value, digits)


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{significant(value, digits=3)}"


def _rounded_outwards(value: float, digits: int) -> float:
    """To some significant digits, never nearer to zero; what differs from such a number by arithmetic alone is that."""
    near = float(f"{value:.{digits}g}")
    if math.isclose(near, value, rel_tol=1e-12):
        return near
    exact = Decimal(value)
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), rounding=ROUND_UP))


def _side(check: Check) -> str:
    """Which way a check compares; in an old record its outcome tells, unless value and bound are equal."""
    if check.asks is not None and not isinstance(check.bound, tuple | None):
        return "max " if check.asks == "at most" else "min "
    if check.value is None or isinstance(check.bound, tuple | None) or check.value == check.bound:
        return ""
    return "min " if check.passed == (check.value > check.bound) else "max "


def _digits_apart(value: float | None, bound: float) -> int:
    digits = 4
    if value is None or _absent(value) or value == bound:
        return digits
    while digits < _MOST_DIGITS and significant(value, digits) == significant(bound, digits):
        digits += 1
    return digits


def _absent(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _minus(text: str) -> str:
    return text.replace("-", MINUS).replace("inf", "∞")
