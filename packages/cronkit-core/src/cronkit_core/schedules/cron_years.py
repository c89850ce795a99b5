"""Cron expressions on paper (see `_years`)."""

from __future__ import annotations

from collections.abc import Sequence

from ._local import Stretch
from ._sheet import EMPTY, Sheet, times_of
from ._years import CYCLE_YEARS, NEVER, OnClock, Paper, Piece, Years
from .cron import CronSchedule
from .cron_days import DaySet
from .cron_parts import CronParts


def cron_paper(schedule: CronSchedule) -> Paper:
    """The slots of a cron expression, year by year."""

    def pieces(stretches: Sequence[Stretch], begin: int, end: int) -> tuple[list[Piece], list[int]]:
        found, instants = [], []
        for stretch in stretches:
            start, stop = max(stretch.start, begin), min(stretch.end, end)
            if start < stop:
                wall, wall_stop, made_up = schedule.bounds(stretch, start, stop)
                found.append(Piece(wall, wall_stop, stretch.offset))
                if made_up:
                    instants.append(start)
        return found, instants

    return OnClock(_CronWalls(schedule.parts), schedule.clock, pieces)


class _CronWalls:
    """The wall times of an expression: some days, the same times on each."""

    year_period = CYCLE_YEARS
    year_by_kind = True

    @property
    def year_outline(self) -> _CronWalls:
        return self

    def __init__(self, parts: CronParts) -> None:
        self._days = DaySet(parts)
        self._times = times_of(parts.hour.mask, parts.minute.mask, parts.second.mask)
        self.year_special: Years = NEVER
        if not self._days.every_year:
            years = parts.year.mask
            self.year_special = (years & -years).bit_length() - 1, years.bit_length() - 1

    def year_key(self, year: int) -> int:
        return self._days.years[year][1]

    def year_sheet(self, year: int) -> Sheet:
        days = self._days.years[year][1]
        return ((days, self._times),) if days else EMPTY
