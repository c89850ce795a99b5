"""The dates and times that come with rules: DTSTART, RDATE, EXDATE, UNTIL and `anchor`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ..errors import InvalidSchedule
from ._local import DAY, END, ORIGIN, ZoneClock, date_spans, load_zone, zone_clock
from ._spec import shown
from .base import instant
from .rrule_compile import seconds_of
from .rrule_parse import Dated, Value
from .rrule_slots import first_pass

Given = str | datetime | date


def floor(value: datetime, what: str) -> int:
    """The whole seconds of an instant since 0001-01-01 00:00 UTC."""
    try:
        passed = value - ORIGIN
    except TypeError:
        passed = instant(value, what) - ORIGIN
    return passed.days * DAY + passed.seconds


def ceiling(value: datetime, what: str) -> int:
    return floor(value, what) + bool(value.microsecond)


def several(given: Given | Collection[Given], where: str) -> Collection[Given]:
    """`given` as a collection where it is a single date or time."""
    if isinstance(given, str | date):
        return (given,)
    if isinstance(given, list | tuple | set | frozenset):
        return given
    raise InvalidSchedule(
        f"bad {where} {shown(given)}: a list of ISO 8601 texts, datetimes or dates",
        spec=given,
        where=where,
    )


def read_given(given: Given, where: str) -> Value:
    """A date or time as an argument gives it; with an offset, in UTC."""
    value: Value
    if isinstance(given, str):
        text = given.strip()
        try:
            if len(text) == 10 or (len(text) == 8 and text.isdigit()):
                value = date.fromisoformat(text)
            else:
                value = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidSchedule(
                f"bad {where} {shown(given)}: ISO 8601, such as '2027-01-01T09:00' or '2027-01-01'",
                spec=given,
                where=where,
            ) from None
    elif isinstance(given, date):
        value = given
    else:
        raise InvalidSchedule(
            f"bad {where} {shown(given)}: ISO 8601 text, a datetime or a date",
            spec=given,
            where=where,
        )
    return in_utc(value) if isinstance(value, datetime) else value


def in_utc(value: Value) -> Value:
    if not isinstance(value, datetime) or value.tzinfo is None:
        return value
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidSchedule(f"bad date {value}: outside the years 1 to 9999 in UTC") from None


def zone_name(written: Dated | None, given: Given | None, timezone: str | None) -> str | None:
    """The zone of the rule: the TZID of DTSTART, UTC for one with Z, else `timezone`, else that of
    an aware `given` DTSTART."""
    if written is not None:
        if written.timezone is not None:
            return written.timezone
        if isinstance(written.value, datetime) and written.value.tzinfo is not None:
            return "UTC"
    if timezone is None and isinstance(given, datetime) and isinstance(given.tzinfo, ZoneInfo):
        return given.tzinfo.key
    return timezone


def wall_of(value: Value, clock: ZoneClock, where: str) -> datetime:
    """What the clock shows at `value`, to the second; of a date its midnight."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time())
    if value.tzinfo is None:
        return value.replace(microsecond=0, fold=0)
    try:
        shift = timedelta(0, clock.offset_at(floor(value, where)))
        return (value.replace(tzinfo=None) + shift).replace(microsecond=0)
    except OverflowError:
        raise InvalidSchedule(
            f"bad {where} {value}: outside the years 1 to 9999", spec=value, where=where
        ) from None


def instant_of(item: Dated, clock: ZoneClock, where: str) -> int:
    value = item.value
    if isinstance(value, datetime) and value.tzinfo is not None:
        return floor(value, where)
    if item.timezone is not None:
        clock = zone_clock(load_zone(item.timezone))
    found = first_pass(clock, seconds_of(wall_of(value, clock, where)))
    if not 0 <= found < END:
        raise InvalidSchedule(
            f"bad {where} {value}: outside the years 1 to 9999 in UTC", spec=value, where=where
        )
    return found


def day_spans(dates: Sequence[Dated], zone: tzinfo) -> tuple[tuple[int, int], ...]:
    """The instants of whole local days, as disjoint stretches in order."""
    spans: list[tuple[int, int]] = []
    for item in dates:
        own = zone if item.timezone is None else load_zone(item.timezone)
        spans.extend(_day(item.value, own))
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _day(day: date, zone: tzinfo) -> list[tuple[int, int]]:
    """The stretches of instants in which the clock shows `day`."""
    try:
        spans = date_spans(day, zone)
    except OverflowError:
        # no clock changes at the ends of the calendar
        start = first_pass(zone_clock(zone), (day.toordinal() - 1) * DAY)
        return [(max(start, 0), min(start + DAY, END))]
    return [(floor(low, "day"), floor(high, "day")) for low, high in spans]


def last_instant(until: Value, zone: tzinfo) -> int:
    """The last instant that UNTIL allows."""
    clock = zone_clock(zone)
    if not isinstance(until, datetime):
        spans = _day(until, zone)
        if spans:
            return spans[-1][1] - 1
        return first_pass(clock, (until.toordinal() - 1) * DAY) - 1
    if until.tzinfo is not None:
        return floor(until, "UNTIL")
    return first_pass(clock, seconds_of(until))
