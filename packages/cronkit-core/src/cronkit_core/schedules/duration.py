"""Lengths of time as people write them: "90s", "1h30m", "2 weeks", "PT15M". In whole microseconds
throughout, so that nothing drifts."""

from __future__ import annotations

import re
from fractions import Fraction

from ..errors import InvalidSchedule
from ._spec import shown

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

# Largest first: the parts of a duration come in this order.
_UNITS: dict[str, int] = {"w": WEEK, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": 1_000}
_NAMES = {
    "w": "w week weeks",
    "d": "d day days",
    "h": "h hr hrs hour hours",
    "m": "m min mins minute minutes",
    "s": "s sec secs second seconds",
    "ms": "ms msec millisecond milliseconds",
}
_UNIT_OF = {name: unit for unit, names in _NAMES.items() for name in names.split()}
_ORDER = list(_UNITS)
_CALENDAR = frozenset({"mo", "month", "months", "M", "y", "yr", "yrs", "year", "years", "Y"})

_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
_PART = re.compile(rf"({_NUMBER})\s*([A-Za-zµ]+)")
_WRITTEN = re.compile(rf"{_NUMBER}\s*[A-Za-zµ]+(?:[\s,]*{_NUMBER}\s*[A-Za-zµ]+)*", re.ASCII)
_ISO = re.compile(
    rf"P(?:(?P<w>{_NUMBER})W)?(?:(?P<d>{_NUMBER})D)?"
    rf"(?:T(?:(?P<h>{_NUMBER})H)?(?:(?P<m>{_NUMBER})M)?(?:(?P<s>{_NUMBER})S)?)?"
)
_ISO_LIKE = re.compile(r"P[0-9T][0-9A-Z.]*")


def is_duration(text: str) -> bool:
    """Whether `text` is written as a duration is: numbers with units, or ISO 8601's P…; it may
    still name an unknown unit."""
    return bool(_WRITTEN.fullmatch(text) or _ISO_LIKE.fullmatch(text))


def parse_duration(text: str) -> int:
    """The duration `text` in microseconds, a fraction of one rounded to the nearest.

    Numbers with units from weeks down to milliseconds, each at most once, the largest first
    ("1h30m", "1 day 12 hours", "1.5h"), or an ISO 8601 duration in weeks, days and time ("PT15M").
    Months and years have no fixed length and are refused, as is anything else, with
    InvalidSchedule.
    """
    if text.startswith("P"):
        return _parse_iso(text)
    if not _WRITTEN.fullmatch(text):
        raise InvalidSchedule(
            f"bad duration {shown(text)}: write numbers with units, such as 90s, 5m, 1h30m, "
            f"2 weeks",
            spec=text,
            where="duration",
        )
    total = Fraction(0)
    last = -1
    for number, name in _PART.findall(text):
        unit = _UNIT_OF.get(name)
        if unit is None:
            raise _bad_unit(text, name)
        if _ORDER.index(unit) <= last:
            raise InvalidSchedule(
                f"bad duration {shown(text)}: each unit once, the largest first, such as 1h30m",
                spec=text,
                where="duration",
            )
        last = _ORDER.index(unit)
        total += Fraction(number) * _UNITS[unit]
    return round(total)


def _parse_iso(text: str) -> int:
    found = _ISO.fullmatch(text)
    parts = {k: v for k, v in found.groupdict().items() if v} if found else {}
    if not parts or text.endswith("T"):
        date_part, _, _ = text.partition("T")
        if "Y" in date_part or "M" in date_part:
            raise _bad_unit(text, "Y" if "Y" in date_part else "M")
        raise InvalidSchedule(
            f"bad ISO 8601 duration {shown(text)}: such as PT15M, PT1H30M, P1D or P2W",
            spec=text,
            where="duration",
        )
    return round(sum(Fraction(number) * _UNITS[unit] for unit, number in parts.items()))


def _bad_unit(text: str, name: str) -> InvalidSchedule:
    if name in _CALENDAR:
        remedy = "months and years differ in length: use a cron expression or an RRULE"
    else:
        remedy = "the units are w, d, h, m, s and ms"
    return InvalidSchedule(
        f"bad unit {shown(name)} in duration {shown(text)}: {remedy}",
        spec=text,
        where="duration",
    )


def format_duration(micros: int) -> str:
    """`micros` microseconds, shortly: "1h30m", "2d", "0.25s"; `parse_duration` reads it."""
    words = []
    for unit in ("d", "h", "m"):
        count, micros = divmod(micros, _UNITS[unit])
        if count:
            words.append(f"{count}{unit}")
    if micros or not words:
        words.append(f"{_decimal(micros)}s")
    return "".join(words)


def spell_duration(micros: int) -> str:
    """`micros` microseconds, in words: "1 hour 30 minutes", "2 weeks", "0.25 seconds"."""
    if micros and micros % WEEK == 0:
        return _plural(str(micros // WEEK), "week")
    words = []
    for unit, name in (("d", "day"), ("h", "hour"), ("m", "minute")):
        count, micros = divmod(micros, _UNITS[unit])
        if count:
            words.append(_plural(str(count), name))
    if micros or not words:
        words.append(_plural(_decimal(micros), "second"))
    return " ".join(words)


def _decimal(micros: int) -> str:
    whole, rest = divmod(micros, SECOND)
    return f"{whole}.{rest:06}".rstrip("0") if rest else str(whole)


def _plural(count: str, name: str) -> str:
    return f"{count} {name}" if count == "1" else f"{count} {name}s"
