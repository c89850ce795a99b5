"""How far an EXRULE takes out all that a rule names: what lets the search for a slot jump over
years of exclusions, and prove that there is no slot at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._local import BLOCK, DAY, END, TABLES_END, clock_changes
from .rrule_days import CYCLE_DAYS, CYCLE_YEARS, LAST_DAY, LAST_YEAR, year_of, year_start
from .rrule_expand import Plan
from .rrule_slots import Slots, first_pass

_MARGIN = 2  # a slot's instant is less than this many days from its wall time


@dataclass(frozen=True, slots=True)
class _Exclusion:
    """A plan that takes out, on its days up to `last`, every time of another."""

    plan: Plan
    last: int


class Exclusions:
    """What of some rules is left by others."""

    def __init__(self, rules: Sequence[Slots], exrules: Sequence[Slots]) -> None:
        self._clock = exrules[0].clock
        self._rules = [
            (
                rule.plan,
                [_Exclusion(ex.plan, _last_day(ex)) for ex in exrules if self._takes(ex, rule)],
            )
            for rule in rules
        ]
        cycle = max(
            (
                plan.cycle()
                for rule, exclusions in self._rules
                for plan in (rule, *(exclusion.plan for exclusion in exclusions))
            ),
            default=0,
        )
        # cycles of 400 years repeat together; others are looked through to the end
        short = cycle <= CYCLE_DAYS * DAY
        self._proof = 2 * CYCLE_YEARS if short else LAST_YEAR

    def after(self, instant: int) -> int:
        """An instant, `instant` or later, before which every slot from `instant` on is taken out;
        END where all are."""
        offset = self._clock.calm[instant >> BLOCK]
        wall = instant - _MARGIN * DAY if offset is None else instant + offset
        low = min(max(wall // DAY, 0), LAST_DAY)
        first = year_of(low)
        for year in range(first, LAST_YEAR + 1):
            base = year_start(year)
            mask = self._left(year) >> (low - base)
            if mask:
                day = low + (mask & -mask).bit_length() - 1
                return max(instant, first_pass(self._clock, day * DAY))
            low = year_start(year + 1)
            if year - first > self._proof and low > self._last():
                break
        return END

    def before(self, instant: int) -> int:
        """An instant, `instant` or earlier, after which every slot up to `instant` is taken out;
        -1 where all are."""
        offset = self._clock.calm[instant >> BLOCK]
        wall = instant + _MARGIN * DAY if offset is None else instant + offset
        end = min(max(wall // DAY, 0), LAST_DAY)
        for year in range(year_of(end), 0, -1):
            base = year_start(year)
            mask = self._left(year) & ((1 << (end - base + 1)) - 1)
            if mask:
                day = base + mask.bit_length() - 1
                return min(instant, (day + 1 + _MARGIN) * DAY)
            end = base - 1
        return -1

    def _takes(self, exrule: Slots, rule: Slots) -> bool:
        """Whether `exrule`, on each day that it has, has all the times that `rule` may have."""
        times = exrule.plan.same_times()
        if times is None or not rule.plan.all_times().within(times):
            return False
        # in a gap or an overlap, only what is read in the same manner is the same instant
        return type(exrule) is type(rule) or self._steady(rule.start)

    def _steady(self, start: int) -> bool:
        """Whether the clock never changes from the wall time `start` on."""
        # after the zone's tables end, a rule of the year changes it each year or never
        changes = clock_changes(self._clock, start - _MARGIN * DAY, TABLES_END + 366 * DAY)
        return next(changes, None) is None

    def _last(self) -> int:
        """The day after which no EXRULE ends."""
        ends = [e.last for _, exclusions in self._rules for e in exclusions if e.last < LAST_DAY]
        return max(ends, default=0)

    def _left(self, year: int) -> int:
        """The days of `year` on which something may be left."""
        start = year_start(year)
        left = 0
        for plan, exclusions in self._rules:
            mask = plan.days_in(year)
            for exclusion in exclusions:
                if mask and exclusion.last >= start:
                    limit = exclusion.last - start + 1
                    mask &= ~(
                        exclusion.plan.days_in(year) & ((1 << limit) - 1 if limit < 366 else -1)
                    )
            left |= mask
        return left


def _last_day(exrule: Slots) -> int:
    """The last day that `exrule` is sure to take out whole."""
    if exrule.endless:
        return LAST_DAY
    last = exrule.previous(END)
    return -1 if last is None else last // DAY - _MARGIN - 1
