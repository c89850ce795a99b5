"""What a cron expression says, taken apart: the data between the parser, the engine, `describe` and
`lint`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Days = Literal["either", "both"]
Gap = Literal["after", "skip"]
Overlap = Literal["first", "both"]
ItemKind = Literal[
    "every",
    "value",
    "range",
    "last-day",
    "last-weekday",
    "nearest-weekday",
    "last-of-weekday",
    "nth-of-weekday",
]


@dataclass(frozen=True, slots=True)
class CronItem:
    """One element of a field's comma-separated list.

    | kind | written | what it holds |
    | --- | --- | --- |
    | every | `*`, `?`, `*/15` | `first` to `last` (the whole field), every `step` |
    | value | `5`, `fri`, `H` | `first` (= `last`) |
    | range | `1-5`, `22-2/2`, `5/10`, `H/15` | `first` to `last`, every `step`; see below |
    | last-day | `L`, `L-3` | `before`: days before the month's last day |
    | last-weekday | `LW` | nothing: the last day of the month from Monday to Friday |
    | nearest-weekday | `15W` | `first`: the day of the month |
    | last-of-weekday | `5L`, `L5`, `friL` | `first`: the day of the week |
    | nth-of-weekday | `5#2`, `fri#2` | `first`: the day of the week, `nth`: 1 to 5 |

    A range whose `last` is before its `first` wraps: `22-2` is 22, 23, 0, 1, 2. Days of the week
    are 0 (Sunday) to 6 (Saturday); a Sunday that was written as 7 is 0, but for the end of a range
    such as `5-7`, which stays 7. `hashed`: the numbers came from `H`.
    """

    text: str
    kind: ItemKind
    first: int = 0
    last: int = 0
    step: int = 1
    before: int = 0
    nth: int = 0
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class CronField:
    """One field of an expression.

    `name` is "second", "minute", "hour", "day-of-month", "month", "day-of-week" or "year"; `text`
    what was written (for a field that was left out: "0" for the second, "*" for the year). Bit n
    of `mask` says that the number n is in the field. The items that depend on the month (L, W, #)
    are not in the mask; `rules` lists them. `starred`: starts with `*`, or is `?`.
    """

    name: str
    text: str
    items: tuple[CronItem, ...]
    mask: int
    rules: tuple[CronItem, ...]
    starred: bool


class CronParts(NamedTuple):
    """A cron expression, taken apart.

    `text` is the expression as written (without space around it). Every field is there, also those
    that were left out; `has_seconds` and `has_year` tell whether these were written.

    `gap` and `overlap` are the policies in effect, chosen or by default. `days` is what was chosen
    ("either" unless asked); what it comes to is `either_day`.

    `timezone` is the zone's name as given, None for UTC. `seed` is what `H` was hashed with, None
    where there is no `H`.
    """

    # a tuple, for a frozen dataclass of this size takes 1.3 µs longer to make, a fifth of a parse

    text: str
    second: CronField
    minute: CronField
    hour: CronField
    day: CronField
    month: CronField
    weekday: CronField
    year: CronField
    has_seconds: bool
    has_year: bool
    days: Days
    gap: Gap
    overlap: Overlap
    timezone: str | None
    seed: str | None

    @property
    def fields(self) -> tuple[CronField, ...]:
        """The seven fields in the order in which they are written."""
        return (
            self.second,
            self.minute,
            self.hour,
            self.day,
            self.month,
            self.weekday,
            self.year,
        )

    @property
    def fixed_time(self) -> bool:
        """Whether the expression names times of the day, which the changes of the clock move:
        neither its minute nor its hour field starts with `*`. If not, it is a wildcard, which is
        about what the clock shows."""
        return not (self.minute.starred or self.hour.starred)

    @property
    def either_day(self) -> bool:
        """Whether a day needs to match only one of the two day fields. That takes `days="either"`
        and two fields that both restrict, that is, do not start with `*`; in all other cases a day
        must match both."""
        return self.days == "either" and not (self.day.starred or self.weekday.starred)

    @property
    def gap_default(self) -> Gap:
        """The gap policy that the expression has by itself."""
        return "after" if self.fixed_time else "skip"

    @property
    def overlap_default(self) -> Overlap:
        """The overlap policy that the expression has by itself."""
        return "first" if self.fixed_time else "both"
