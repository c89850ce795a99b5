"""What is probably not meant: schedules that are legal, and surprising."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .base import Schedule, instant
from .combine import Bounded, Union
from .duration import DAY, SECOND, spell_duration
from .exclude import Except, names
from .interval import IntervalSchedule
from .linting_limits import Limits
from .once import OnceSchedule

BEGINNING = datetime.min.replace(tzinfo=UTC)
FIRST_LOOK = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the search for changes of the clock starts when no instant was given."""

_MICRO = timedelta(microseconds=1)
_CALENDAR_DAYS = {
    1: "a day",
    7: "a week",
    28: "four weeks",
    29: "a month",
    30: "a month",
    31: "a month",
    90: "a quarter",
    91: "a quarter",
    92: "a quarter",
    365: "a year",
    366: "a year",
}


@dataclass(frozen=True, slots=True)
class Warning:  # noqa: A001
    """Something about a schedule that is probably not meant.

    `code` is stable and for programs: "never", "past", "some-months", "both-days", "uneven-step",
    "dst-gap", "dst-overlap", "six-fields", "calendar-interval", "no-dtstart", "until-past",
    "sub-second". `message` says what is the case, `suggestion` what to write instead, in English.
    """

    code: str
    message: str
    suggestion: str


def lint(schedule: Schedule, *, after: datetime | None = None) -> list[Warning]:
    """What is probably not meant in `schedule`; an empty list when nothing stands out.

    `after`, mostly the time it is now, is the instant that "past" and the "next" changes of the
    clock are about. Without it nothing is called past, and changes are looked for from 2026 on.
    The parts of combined schedules are looked at one by one. Raises TypeError for what is no
    schedule, NaiveDatetime for an `after` without a time zone.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(f"lint takes a Schedule, not {type(schedule).__name__}: parse_schedule it")
    if after is not None:
        after = instant(after, "after")
    return list(dict.fromkeys(_warnings(schedule, after, Limits())))


def _warnings(schedule: Schedule, after: datetime | None, limits: Limits) -> Iterator[Warning]:
    """The warnings about `schedule`, of whose slots `limits` are left."""
    if first_slot(schedule) is None:
        yield from _never(schedule)
        return
    if after is not None and schedule.next_after(after) is None:
        yield _past(schedule, after)
    limits = limits.within(schedule)
    for part in _parts(schedule):
        yield from _warnings(part, after, limits)
    yield from _of_kind(schedule, after, limits)


def _of_kind(schedule: Schedule, after: datetime | None, limits: Limits) -> Iterator[Warning]:
    """The warnings that are about the one kind of schedule."""
    since = FIRST_LOOK if after is None else after
    if isinstance(schedule, IntervalSchedule):
        yield from _interval(schedule)
    elif isinstance(schedule, OnceSchedule):
        from .linting_clock import once_warnings

        slot = schedule.at.first
        if limits.allow(slot) and (after is None or slot > after):
            yield from once_warnings(schedule)
    elif schedule.kind in ("cron", "calendar"):
        from .linting_cron import cron_warnings

        yield from cron_warnings(schedule, since, limits)
    elif schedule.kind == "rrule":
        from .linting_rrule import rrule_warnings

        yield from rrule_warnings(schedule, since, limits)


def _parts(schedule: Schedule) -> tuple[Schedule, ...]:
    """The schedules that `schedule` takes its slots from."""
    if isinstance(schedule, Union):
        return schedule.members
    return (schedule.schedule,) if isinstance(schedule, Bounded | Except) else ()


def first_slot(schedule: Schedule) -> datetime | None:
    """The very first slot."""
    # That of all instants is a slot like any other, but nothing is before it.
    slot = schedule.previous_before(BEGINNING + _MICRO)
    return slot if slot is not None else schedule.next_after(BEGINNING)


def _never(schedule: Schedule) -> Iterator[Warning]:
    """Why `schedule` never fires. Where parts of it never fire that is all there is to say."""
    if isinstance(schedule, Union):
        yield Warning("never", "never fires: none of its schedules does", "name a time that comes")
    elif isinstance(schedule, Bounded | Except) and first_slot(schedule.schedule) is not None:
        yield _left_out(schedule)
    elif schedule.kind in ("cron", "calendar"):
        from .linting_cron import never

        yield never(schedule)
    elif schedule.kind == "rrule":
        from .linting_rrule import never_warnings

        yield from never_warnings(schedule)
    elif not _parts(schedule):
        yield Warning("never", "never fires", "name a time that comes")
    for part in _parts(schedule):
        if first_slot(part) is None:
            yield from _never(part)


def _left_out(schedule: Bounded | Except) -> Warning:
    if isinstance(schedule, Except):
        return Warning("never", "never fires: every slot is excluded", "exclude less")
    return Warning(
        "never", "never fires: no slot lies within start_at and end_at", "widen the bounds"
    )


def _past(schedule: Schedule, after: datetime) -> Warning:
    last = after if names(schedule, after) else schedule.previous_before(after)
    when = "" if last is None else f"; the last one was {_iso(last)}"
    message = f"no slot after {_iso(after)}{when}"
    if schedule.kind == "rrule":
        from .linting_rrule import last_until

        until, end = last_until(schedule)
        if until is not None and end < after:
            return Warning(
                "until-past",
                f"UNTIL {until.isoformat()} is past: {message}",
                "move UNTIL, or leave it out",
            )
    return Warning("past", message, "move it to a time to come")


def _interval(schedule: IntervalSchedule) -> Iterator[Warning]:
    micros = schedule.every // _MICRO
    if micros < SECOND:
        yield Warning(
            "sub-second",
            f"fires more often than once a second: every {spell_duration(micros)}",
            "an interval of 1 second or more, and a loop of your own for what is faster",
        )
    days, rest = divmod(micros, DAY)
    if rest == 0:
        like = _CALENDAR_DAYS.get(days, "days" if days % 7 else "weeks")
        yield Warning(
            "calendar-interval",
            f"an interval of {spell_duration(micros)} looks like {like} of the calendar, but it is "
            f"elapsed time: it moves by an hour when the clock changes"
            + (", and months and years differ in length" if days >= 28 else ""),
            f"for a time of the day, {_calendar_form(days)} with a timezone",
        )


def _calendar_form(days: int) -> str:
    if days == 1:
        return "a cron expression such as '0 8 * * *'"
    if days == 7:
        return "a cron expression such as '0 8 * * 1'"
    if 28 <= days <= 31:
        return "a cron expression such as '0 8 1 * *'"
    if 90 <= days <= 92:
        return "a cron expression such as '0 8 1 */3 *'"
    if days in (365, 366):
        return "a cron expression such as '0 8 1 1 *'"
    return f"an RRULE with DTSTART and FREQ=DAILY;INTERVAL={days}"


def _iso(at: datetime) -> str:
    return at.replace(microsecond=0).isoformat()
