"""What an RRULE says, as data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Freq = Literal["SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
Skip = Literal["OMIT", "BACKWARD", "FORWARD"]

FREQS: tuple[Freq, ...] = (
    "SECONDLY",
    "MINUTELY",
    "HOURLY",
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "YEARLY",
)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@dataclass(frozen=True, slots=True)
class Rule:
    """One RRULE or EXRULE, as written: a part that was not given is empty (or None, or its
    default). Numbers are ascending, without duplicates.

    `byday` holds pairs of a number (0: every one) and a weekday from Monday, 0. `until` is an aware
    UTC datetime, a naive one on the rule's wall clock, or a date. `dtstart` is the rule's start on
    its wall clock, None where none was given: then 1970-01-01 00:00 is its phase.
    """

    freq: Freq
    interval: int = 1
    count: int | None = None
    until: datetime | date | None = None
    wkst: int = 0
    bysecond: tuple[int, ...] = ()
    byminute: tuple[int, ...] = ()
    byhour: tuple[int, ...] = ()
    byday: tuple[tuple[int, int], ...] = ()
    bymonthday: tuple[int, ...] = ()
    byyearday: tuple[int, ...] = ()
    byweekno: tuple[int, ...] = ()
    bymonth: tuple[int, ...] = ()
    bysetpos: tuple[int, ...] = ()
    skip: Skip = "OMIT"
    dtstart: datetime | None = None

    @property
    def sub_daily(self) -> bool:
        """Whether it repeats within the day: HOURLY, MINUTELY, SECONDLY."""
        return self.freq in ("SECONDLY", "MINUTELY", "HOURLY")
