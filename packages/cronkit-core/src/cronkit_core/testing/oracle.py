"""Reference oracles: slow, obviously right answers to hold a faster implementation against.

They walk the wall clock of a zone minute by minute (second by second where it matters), ask
`zoneinfo` what it shows, and hold that against the rule, part by part. They share no code with
`cronkit_core.schedules`, so that an agreement of the two means something, and they depend on
nothing but the standard library. What a schedule means is in docs/schedules.md.

Expect some milliseconds for a day of slots; bound the search with `horizon`. They walk a little
further than they are asked to, so ask about the years 10 to 9990. Not read: `H` (what it
stands for is a hash), RSCALE with SKIP, calendar expressions and the croniter dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from heapq import merge
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from ._oracle_cron import cron_slots
from ._oracle_rrule import parse_rrule, rrule_slots
from ._walk import first_instant, show

YEAR = timedelta(days=366)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


def oracle_cron_next(
    expression: str,
    timezone: str,
    after: datetime,
    *,
    horizon: timedelta = YEAR,
    days: str = "either",
    gap: str | None = None,
    overlap: str | None = None,
) -> datetime | None:
    """The first slot of a cron expression after the instant `after`, in UTC; None when there is
    none up to `after + horizon`.

    `days` is "either" or "both"; `gap` is "after" or "skip" and `overlap` "first" or "both", None
    for what the expression itself implies. ValueError for an expression that it does not read.
    """
    start = _utc(after)
    slots = cron_slots(
        expression,
        ZoneInfo(timezone),
        start,
        start + horizon,
        days=days,
        gap=gap,
        overlap=overlap,
    )
    return next(slots, None)


def oracle_rrule_next(
    text: str,
    timezone: str,
    after: datetime,
    *,
    horizon: timedelta = YEAR,
    dtstart: datetime | None = None,
) -> datetime | None:
    """The first slot of an RRULE, or of lines of DTSTART, RRULE, EXRULE, RDATE and EXDATE, after
    the instant `after`, in UTC; None when there is none up to `after + horizon`.

    `timezone` counts where DTSTART names none; `dtstart` is a naive wall time for a rule without a
    DTSTART line. A rule with COUNT is walked from its start.
    """
    start = _utc(after)
    rules = parse_rrule(text, ZoneInfo(timezone), dtstart)
    return next(rrule_slots(rules, start, start + horizon), None)


def reference_next_after(
    spec: object,
    timezone: str | None,
    after: datetime,
    horizon: timedelta = YEAR,
    *,
    anchor: datetime = _EPOCH,
) -> datetime | None:
    """The first slot of `spec` after the instant `after`, in UTC; None when there is none up to
    `after + horizon`."""
    start = _utc(after)
    return next(reference_slots(spec, timezone, start, start + horizon, anchor=anchor), None)


def reference_slots(
    spec: object,
    timezone: str | None,
    start: datetime,
    end: datetime,
    *,
    anchor: datetime = _EPOCH,
) -> Iterator[datetime]:
    """The slots of `spec` after the instant `start` and up to `end`, in order, in UTC.

    `spec` is what `parse_schedule` takes: cron expressions, RRULEs, intervals (from `anchor`), one
    moment, unions, exclusions and bounds, as text, numbers and dicts. ValueError or TypeError for
    anything else.
    """
    start, end = _utc(start), _utc(end)
    if isinstance(spec, int | float | timedelta):
        return _every(spec, anchor, start, end)
    if isinstance(spec, str):
        return _text(spec, ZoneInfo(timezone or "UTC"), anchor, start, end)
    if not isinstance(spec, Mapping):
        raise TypeError(f"the oracle does not read a {type(spec).__name__}: {spec!r}")
    timezone = spec.get("timezone", timezone)
    zone = ZoneInfo(timezone or "UTC")
    if "start_at" in spec:
        start = max(start, _moment(spec["start_at"], zone) - timedelta(microseconds=1))
    if "end_at" in spec:
        end = min(end, _moment(spec["end_at"], zone))
    if "anchor" in spec:
        anchor = _moment(spec["anchor"], zone)
    return _dict(spec, timezone, zone, anchor, start, end)


def _dict(
    spec: Mapping[str, Any],
    timezone: str | None,
    zone: tzinfo,
    anchor: datetime,
    start: datetime,
    end: datetime,
) -> Iterator[datetime]:
    if "cron" in spec and "dialect" not in spec:
        options = {key: spec[key] for key in ("days", "gap", "overlap") if key in spec}
        return cron_slots(spec["cron"], zone, start, end, **options)
    if "rrule" in spec:
        dtstart = datetime.fromisoformat(spec["dtstart"]) if "dtstart" in spec else None
        return rrule_slots(parse_rrule(spec["rrule"], zone, dtstart), start, end)
    if "interval" in spec:
        return reference_slots(spec["interval"], timezone, start, end, anchor=anchor)
    if "at" in spec:
        return (slot for slot in [_moment(spec["at"], zone)] if start < slot <= end)
    if "any" in spec:
        parts = [reference_slots(s, timezone, start, end, anchor=anchor) for s in spec["any"]]
        return (slot for slot, _ in groupby(merge(*parts)))
    if "schedule" in spec:
        slots = reference_slots(spec["schedule"], timezone, start, end, anchor=anchor)
        return _without(slots, spec.get("except", ()), timezone, start, end, anchor)
    raise ValueError(f"the oracle does not read {spec!r}")


def _without(
    slots: Iterator[datetime],
    excluded: Sequence[Any],
    timezone: str | None,
    start: datetime,
    end: datetime,
    anchor: datetime,
) -> Iterator[datetime]:
    """`slots` without those that a date, a range or a schedule in `excluded` holds."""
    zone = ZoneInfo(timezone or "UTC")
    spans = [item for item in excluded if _is_span(item)]
    schedules = [item for item in excluded if not _is_span(item)]
    out = merge(*(reference_slots(s, timezone, start, end, anchor=anchor) for s in schedules))
    taken = next(out, None)
    for slot in slots:
        while taken is not None and taken < slot:
            taken = next(out, None)
        if slot != taken and not any(_spans(span, slot, zone) for span in spans):
            yield slot


def _is_span(item: Any) -> bool:
    return (isinstance(item, str) and _DATE.fullmatch(item) is not None) or (
        isinstance(item, Mapping) and "from" in item
    )


def _spans(span: Any, slot: datetime, zone: tzinfo) -> bool:
    """Whether a date, or a range of dates or moments with both ends, holds `slot`."""
    first, last = (span, span) if isinstance(span, str) else (span["from"], span["to"])
    today = show(slot, zone).date()
    begun = (
        today >= date.fromisoformat(first)
        if _DATE.fullmatch(first)
        else slot >= _moment(first, zone)
    )
    over = today > date.fromisoformat(last) if _DATE.fullmatch(last) else slot > _moment(last, zone)
    return begun and not over


def _text(
    text: str, zone: tzinfo, anchor: datetime, start: datetime, end: datetime
) -> Iterator[datetime]:
    text = text.strip()
    if "FREQ=" in text.upper():
        return rrule_slots(parse_rrule(text, zone), start, end)
    if (seconds := _duration(text.removeprefix("@every").strip())) is not None:
        return _every(seconds, anchor, start, end)
    return cron_slots(text, zone, start, end)


def _duration(text: str) -> float | None:
    if found := re.fullmatch(r"PT(\d+)S", text):
        return int(found[1])
    if not re.fullmatch(r"(\d+[wdhms])+", text):
        return None
    return sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)(\w)", text))


def _every(
    every: float | timedelta, anchor: datetime, start: datetime, end: datetime
) -> Iterator[datetime]:
    step = every if isinstance(every, timedelta) else timedelta(seconds=every)
    number = (start - anchor) // step
    while (slot := anchor + number * step) <= end:
        if slot > start:
            yield slot
        number += 1


def _moment(text: str, zone: tzinfo) -> datetime:
    """The instant that ISO 8601 `text` names; without an offset it is on the clock of `zone`."""
    at = datetime.fromisoformat(text)
    return first_instant(at, zone) if at.tzinfo is None else at.astimezone(UTC)


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone: pass an aware datetime")
    return instant.astimezone(UTC)
