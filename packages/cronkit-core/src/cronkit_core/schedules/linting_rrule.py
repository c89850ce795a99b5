"""What is probably not meant in a recurrence rule."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from ._local import ORIGIN, load_zone
from .base import Schedule
from .english import MONTH_LENGTHS, MONTHS
from .linting import Warning  # noqa: A004
from .linting_clock import clock_warnings, spell_wall, why_never_shown
from .linting_limits import Limits
from .rrule import RRuleSchedule
from .rrule_dates import last_instant
from .rrule_rule import Rule
from .rrule_slots import Slots, first_pass

_UNITS = {"DAILY": "days", "WEEKLY": "weeks", "MONTHLY": "months", "YEARLY": "years"}


def last_until(schedule: Schedule) -> tuple[date | None, datetime]:
    """The UNTIL that ends last, and the last instant that it allows; None where a rule has none."""
    assert isinstance(schedule, RRuleSchedule)
    zone = load_zone(schedule.timezone or "UTC")
    ends = [(last_instant(r.until, zone), r.until) for r in schedule.rules if r.until is not None]
    if not ends or len(ends) < len(schedule.rules):
        return None, ORIGIN
    end, until = max(ends, key=lambda pair: pair[0])
    return until, ORIGIN + timedelta(seconds=end)


def rrule_warnings(schedule: Schedule, after: datetime, limits: Limits) -> Iterator[Warning]:
    """The warnings for a set of recurrence rules that fires at some time."""
    assert isinstance(schedule, RRuleSchedule)
    for rule in dict.fromkeys(schedule.rules):
        if rule.interval > 1 and rule.dtstart is None and not rule.sub_daily:
            yield Warning(
                "no-dtstart",
                f"every {rule.interval} {_UNITS[rule.freq]} without DTSTART: counted from "
                f"1970-01-01",
                "give it a DTSTART, the first date that is meant",
            )
        yield from _some_months(rule)
    yield from _clock(schedule, after, limits, sub_daily=False)
    yield from _clock(schedule, after, limits, sub_daily=True)


def never_warnings(schedule: Schedule) -> Iterator[Warning]:
    """Why a set of recurrence rules never fires: what is true of each of its rules."""
    assert isinstance(schedule, RRuleSchedule)
    named = [schedule.slots_of(rule) for rule in schedule.rules]
    if schedule.rdates or any(slots is not None and slots.next(0) is not None for slots in named):
        yield Warning(
            "never", "never fires: EXDATE or EXRULE takes out every slot", "take out less"
        )
        return
    for rule, slots in zip(schedule.rules, named, strict=True):
        yield Warning("never", *_why_never(schedule, rule, slots))


def _why_never(schedule: RRuleSchedule, rule: Rule, slots: Slots | None) -> tuple[str, str]:
    zone = schedule.timezone
    if slots is None or slots.plan.next(0) is None:
        return "never fires: no date matches all parts of the rule", "drop one of its BY... parts"
    first = slots.plan.next(slots.start)
    if first is None:
        return "never fires: no date after DTSTART matches the rule", "move DTSTART"
    if rule.until is not None:
        end = last_instant(rule.until, load_zone(zone or "UTC"))
        if end < first_pass(slots.clock, first):
            return (
                f"never fires: UNTIL {rule.until.isoformat()} is before the first time that "
                f"matches, {spell_wall(first)}",
                "move UNTIL, or leave it out",
            )
    return why_never_shown(first, zone)


def _some_months(rule: Rule) -> Iterator[Warning]:
    if rule.skip != "OMIT" or rule.freq == "WEEKLY" or rule.sub_daily:
        return
    days = _days_of_month(rule)
    months = _months(rule)
    if days and not any(_fits(day, 28) for day in days):
        written = ",".join(map(str, days))
        missing = [m for m in months if not any(_fits(day, MONTH_LENGTHS[m - 1]) for day in days)]
        if missing and missing != months:
            names = ", ".join(MONTHS[m - 1][:3] for m in missing)
            yield Warning(
                "some-months",
                f"day {written} of the month: does not fire in {names}",
                "for the last day of every month write BYMONTHDAY=-1",
            )
        elif 2 in months:
            yield Warning(
                "some-months",
                f"day {written} of the month: fires in February of leap years only",
                "for the last day of February write BYMONTHDAY=-1",
            )
    monthly = rule.freq == "MONTHLY" or rule.bymonth
    if monthly and rule.byday and all(abs(number) == 5 for number, _ in rule.byday):
        yield Warning(
            "some-months",
            "BYDAY with 5: not every month has a fifth one",
            "for the last one of every month write -1, as in BYDAY=-1FR",
        )


def _days_of_month(rule: Rule) -> tuple[int, ...]:
    """The days of the month that are meant, DTSTART's where the rule leaves them to it."""
    if rule.bymonthday or rule.freq == "DAILY":
        return rule.bymonthday
    if rule.byday or rule.byyearday or rule.byweekno or rule.dtstart is None:
        return ()
    return (rule.dtstart.day,)


def _months(rule: Rule) -> list[int]:
    if rule.bymonth:
        return list(rule.bymonth)
    if rule.freq == "YEARLY" and not rule.bymonthday and rule.dtstart is not None:
        return [rule.dtstart.month]
    return list(range(1, 13))


def _fits(day: int, length: int) -> bool:
    return abs(day) <= length


def _clock(
    schedule: RRuleSchedule, after: datetime, limits: Limits, *, sub_daily: bool
) -> Iterator[Warning]:
    """What the changes of the clock do to the rules that are `sub_daily`, or that are not."""
    rules = [r for r in schedule.rules if r.sub_daily == sub_daily and (r.byhour or not sub_daily)]
    found = [slots for rule in rules if (slots := schedule.slots_of(rule)) is not None]
    if not found:
        return
    excluded = [slots for rule in schedule.exrules if (slots := schedule.slots_of(rule))]

    def first_from(wall: int) -> int | None:
        following = (slots.plan.next(max(wall, slots.start)) for slots in found)
        return min((wall for wall in following if wall is not None), default=None)

    def named(wall: int, instant: int) -> bool:
        return (
            any(slots.reaches(wall, instant) for slots in found)
            and not schedule.drops(instant)
            and not any(slots.reaches(wall, instant) for slots in excluded)
        )

    if sub_daily:
        gap, overlap = "it does not run then", "it runs both times"
        remedy = "write FREQ=DAILY"
    else:
        skip = schedule.nonexistent == "skip"
        gap = "it does not run then" if skip else "it runs later by the width of the gap"
        overlap, remedy = "it runs the first time only", "write FREQ=HOURLY for both"
    yield from clock_warnings(
        first_from,
        named,
        schedule.timezone,
        after,
        limits,
        gap=(gap, 'choose with "nonexistent": "shift" or "skip"' if not sub_daily else remedy),
        overlap=(overlap, remedy),
        twice=sub_daily,
    )
