"""A point in time as people write it: an instant with its offset, a wall time, or a date.

A wall time is kept as a wall time, with its zone, for that is what was meant: should the zone's
rules change, it moves with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from ..errors import InvalidSchedule
from ._local import at_or_after, date_spans, load_zone
from ._spec import shown

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_IN_BRACKETS = re.compile(r"([^\[]*)\[([^\[\]]*)\]")
_MICRO = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_END = datetime.max.replace(tzinfo=UTC)


def is_date(text: str) -> bool:
    """Whether `text` is written as a date alone is: "2027-12-25", or "2027-12-25[Asia/Tokyo]"."""
    return bool(_DATE.fullmatch(_apart(text)[0]))


def _apart(text: str) -> tuple[str, str | None]:
    """`text` without the zone in brackets at its end (as RFC 9557 writes it), and that zone."""
    found = _IN_BRACKETS.fullmatch(text)
    return (text, None) if found is None else (found[1], found[2])


@dataclass(frozen=True, slots=True)
class Moment:
    """`value` is an aware datetime in UTC (then `timezone` is None), or a naive datetime or a date
    on the wall clock of `timezone` (None: UTC)."""

    value: datetime | date
    timezone: str | None

    @property
    def first(self) -> datetime:
        """The instant that is meant; of a date, the first one.

        A wall time that comes twice means the first pass; one that lies in a gap, however long,
        means the first instant after the gap. At the ends of time, where the zone's offset leads
        out of the years 1 to 9999, it is taken in UTC.
        """
        try:
            return self.resolve()
        except OverflowError:
            return self._wall.replace(tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The instant after the last one that is meant; a date is meant whole."""
        return self.spans[-1][1]

    @property
    def spans(self) -> list[tuple[datetime, datetime]]:
        """The stretches of instants that are meant, each from one instant on and before another."""
        if isinstance(self.value, datetime):
            return [(self.first, _later(self.first, _MICRO))]
        try:
            # A date that the zone left out is none: it has no stretch of instants.
            return date_spans(self.value, self._zone) or [(self.first, self.first)]
        except OverflowError:
            return [(self.first, _later(self.first, _DAY))]

    def resolve(self) -> datetime:
        """As `first`, but raises OverflowError at the ends of time."""
        value = self.value
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value
        return at_or_after(self._wall, self._zone)

    @property
    def _wall(self) -> datetime:
        value = self.value
        return value if isinstance(value, datetime) else datetime.combine(value, time())

    @property
    def _zone(self) -> tzinfo:
        return UTC if self.timezone is None else load_zone(self.timezone)

    @property
    def absolute(self) -> bool:
        """Whether it is an instant, which no zone changes."""
        return isinstance(self.value, datetime) and self.value.tzinfo is not None

    @property
    def takes_zone(self) -> bool:
        """Whether it would mean something else in a zone: it is on a wall clock, and names none."""
        return self.timezone is None and not self.absolute

    def spell(self) -> str:
        """The moment as ISO 8601, as `parse_moment` reads it in its zone."""
        return self.value.isoformat()

    def spell_with_zone(self) -> str:
        """The moment as `parse_moment` reads it in any zone: "2027-12-25[Asia/Tokyo]"."""
        return self.spell() if self.absolute else f"{self.spell()}[{self.timezone or 'UTC'}]"

    def describe(self, known: str | None = None) -> str:
        """The moment for people, with its zone unless that is `known`."""
        value = self.value
        text = value.isoformat()
        if isinstance(value, datetime):
            text = value.replace(tzinfo=None).isoformat(" ")
        zone = self.timezone or "UTC"
        return text if zone == known else f"{text} {zone}"


def _later(at: datetime, length: timedelta) -> datetime:
    return at + min(length, _END - at)


def parse_moment(value: object, timezone: str | None, *, where: str, dates: bool = False) -> Moment:
    """The moment that `value` says: a datetime, an ISO 8601 string, or (where `dates`) a date.

    Without an offset it is on the wall clock of the zone that is written behind it in brackets
    ("2027-01-01T09:00[Asia/Tokyo]"), or else of `timezone`. Raises InvalidSchedule, naming `where`,
    also for what is outside the years 1 to 9999 in UTC, except where `dates` are meant.
    """
    moment = _parse(value, timezone, where, dates)
    if not dates:
        try:
            moment.resolve()
        except OverflowError:
            raise InvalidSchedule(
                f"bad {where} {shown(str(value))}: outside the years 1 to 9999 in UTC",
                spec=value,
                where=where,
            ) from None
    return moment


def _parse(value: object, timezone: str | None, where: str, dates: bool) -> Moment:
    example = "'2027-01-01T09:00'" + (" or '2027-01-01'" if dates else "")
    if isinstance(value, str):
        text, zone = _apart(value.strip())
        if zone is not None:
            load_zone(zone)
            timezone = zone
        try:
            read = date.fromisoformat if _DATE.fullmatch(text) else datetime.fromisoformat
            parsed = read(text)
        except ValueError:
            raise InvalidSchedule(
                f"bad {where} {shown(value)}: ISO 8601, such as {example}", spec=value, where=where
            ) from None
        value = parsed
    if isinstance(value, datetime):
        return _moment_of(value, timezone, where)
    if isinstance(value, date):
        if dates:
            return Moment(value, timezone)
        raise InvalidSchedule(
            f"bad {where} '{value}': a date without a time; write '{value}T00:00'",
            spec=value,
            where=where,
        )
    raise InvalidSchedule(
        f"bad {where} of type {type(value).__name__}: ISO 8601, such as {example}",
        spec=value,
        where=where,
    )


def _moment_of(value: datetime, timezone: str | None, where: str) -> Moment:
    if value.tzinfo is None and value.fold:
        # An aware datetime says which of two passes is meant; text cannot.
        value = value.replace(tzinfo=UTC if timezone is None else load_zone(timezone))
    if value.tzinfo is None or value.utcoffset() is None:
        return Moment(value.replace(tzinfo=None, fold=0), timezone)
    try:
        return Moment(value.astimezone(UTC), None)
    except OverflowError:
        raise InvalidSchedule(
            f"bad {where} {value}: outside the years 1 to 9999 in UTC", spec=value, where=where
        ) from None
