"""Which days an expression names, against a calendar that is walked day by day."""

import calendar
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.schedules.cron import CronSchedule
from cronkit_core.schedules.cron_days import LAST_DAY, DaySet
from cronkit_core.schedules.cron_parse import parse_cron


def dates(expression: str, start: str, n: int, **options: str) -> list[str]:
    """The next `n` dates on which the expression fires, from `start` on."""
    after = datetime.fromisoformat(start).replace(tzinfo=UTC) - timedelta(seconds=1)
    slots = CronSchedule.parse(expression, **options).upcoming(after, n)
    return [f"{slot:%Y-%m-%d}" for slot in slots]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # 2026-01-01 is a Thursday
        ("0 0 * * *", ["2026-01-01", "2026-01-02", "2026-01-03"]),
        ("0 0 31 * *", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("0 0 L 2 *", ["2026-02-28", "2027-02-28", "2028-02-29"]),
        ("0 0 L-3 * *", ["2026-01-28", "2026-02-25", "2026-03-28"]),
        ("0 0 L-30 * *", ["2026-01-01", "2026-03-01", "2026-05-01"]),
        ("0 0 L-28 2 *", ["2028-02-01", "2032-02-01", "2036-02-01"]),
        # 2026-01-31 is a Saturday, 2026-02-28 too, 2026-05-31 a Sunday
        ("0 0 LW * *", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("0 0 LW 5 *", ["2026-05-29", "2027-05-31", "2028-05-31"]),
        ("0 0 lw,1 * *", ["2026-01-01", "2026-01-30", "2026-02-01"]),
        # 2026-02-15 is a Sunday, 2026-08-15 a Saturday
        ("0 0 15W * *", ["2026-01-15", "2026-02-16", "2026-03-16"]),
        ("0 0 15W 8 *", ["2026-08-14", "2027-08-16", "2028-08-15"]),
        # within the month: 2026-02-01 and 2026-03-01 are Sundays, 2026-08-01 a Saturday
        ("0 0 1W * *", ["2026-01-01", "2026-02-02", "2026-03-02"]),
        ("0 0 1W 8 *", ["2026-08-03", "2027-08-02", "2028-08-01"]),
        ("0 0 31W * *", ["2026-01-30", "2026-03-31", "2026-05-29"]),
        ("0 0 30W 2 *", []),
        ("0 0 29W 2 *", ["2028-02-29", "2032-02-27", "2036-02-29"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * L5", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * friL", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("0 0 * * 7L", ["2026-01-25", "2026-02-22", "2026-03-29"]),
        ("0 0 * * fri#2", ["2026-01-09", "2026-02-13", "2026-03-13"]),
        ("0 0 * * 4#1", ["2026-01-01", "2026-02-05", "2026-03-05"]),
        ("0 0 * * 4#5", ["2026-01-29", "2026-04-30", "2026-07-30"]),
        ("0 0 * * mon#1,tue", ["2026-01-05", "2026-01-06", "2026-01-13"]),
        ("0 0 * * mon#1,monL", ["2026-01-05", "2026-01-26", "2026-02-02"]),
        # both day fields restrict: either is enough
        ("0 0 13 * 5", ["2026-01-02", "2026-01-09", "2026-01-13"]),
        ("0 0 L * mon#1", ["2026-01-05", "2026-01-31", "2026-02-02"]),
        ("0 0 1-31 * 5", ["2026-01-01", "2026-01-02", "2026-01-03"]),
        # a field that starts with * does not restrict: both must match
        ("0 0 */2 * 5", ["2026-01-09", "2026-01-23", "2026-02-13"]),
        ("0 0 13 * */5", ["2026-02-13", "2026-03-13", "2026-09-13"]),
        ("0 0 *,13 * 5", ["2026-01-02", "2026-01-09", "2026-01-16"]),
        ("0 0 ? * 5", ["2026-01-02", "2026-01-09", "2026-01-16"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("0 0 0 29 2 * 2097-2107", ["2104-02-29"]),
        ("0 0 0 1 1 * 2025,2030/3000", ["2030-01-01", "5030-01-01", "8030-01-01"]),
        ("0 0 30 2 *", []),
        ("0 0 31 2,4,6,9,11 *", []),
        ("0 0 0 29 2 * 2100", []),
        ("0 0 0 1 1 * 2025", []),
    ],
)
def test_days(expression: str, expected: list[str]) -> None:
    assert dates(expression, "2026-01-01", 3) == expected


def test_days_that_must_match_both() -> None:
    assert dates("0 0 13 * 5", "2026-01-01", 3, days="both") == [
        "2026-02-13",
        "2026-03-13",
        "2026-11-13",
    ]
    # 29 February on a Monday: every 28 years, but for the centuries
    assert dates("0 0 29 2 1", "2026-01-01", 4, days="both") == [
        "2044-02-29",
        "2072-02-29",
        "2112-02-29",
        "2140-02-29",
    ]
    assert dates("0 0 L-2 2 sun#4", "2026-01-01", 2, days="both") == ["2028-02-27", "2034-02-26"]
    assert dates("0 0 31 * mon#2", "2026-01-01", 1, days="both") == []


# Against a naive calendar


def _last(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(wanted: int) -> Callable[[date], bool]:
    def matches(day: date) -> bool:
        if wanted > _last(day):
            return False
        workdays = [n for n in range(1, _last(day) + 1) if day.replace(day=n).isoweekday() <= 5]
        return day.day == min(workdays, key=lambda n: abs(n - wanted))

    return matches


DAY_ITEMS: dict[str, Callable[[date], bool]] = {
    "1": lambda d: d.day == 1,
    "13": lambda d: d.day == 13,
    "29-2": lambda d: d.day >= 29 or d.day <= 2,
    "31": lambda d: d.day == 31,
    "L": lambda d: d.day == _last(d),
    "L-2": lambda d: d.day == _last(d) - 2,
    "L-29": lambda d: d.day == _last(d) - 29,
    "LW": lambda d: (
        d.isoweekday() <= 5
        and all((d + timedelta(n)).isoweekday() > 5 for n in range(1, _last(d) - d.day + 1))
    ),
    "1W": _nearest_weekday(1),
    "15W": _nearest_weekday(15),
    "31W": _nearest_weekday(31),
}
WEEKDAY_ITEMS: dict[str, Callable[[date], bool]] = {
    "0": lambda d: d.isoweekday() == 7,
    "mon-wed": lambda d: d.isoweekday() in (1, 2, 3),
    "sat-mon": lambda d: d.isoweekday() in (6, 7, 1),
    "fri#1": lambda d: d.isoweekday() == 5 and d.day <= 7,
    "5#5": lambda d: d.isoweekday() == 5 and d.day > 28,
    "7L": lambda d: d.isoweekday() == 7 and d.day > _last(d) - 7,
    "L2": lambda d: d.isoweekday() == 2 and d.day > _last(d) - 7,
}
day_items = st.lists(st.sampled_from(sorted(DAY_ITEMS)), min_size=1, max_size=3, unique=True)
weekday_items = st.lists(
    st.sampled_from(sorted(WEEKDAY_ITEMS)), min_size=1, max_size=3, unique=True
)


@given(
    st.none() | day_items,
    st.none() | weekday_items,
    st.just(frozenset(range(1, 13))) | st.frozensets(st.integers(1, 12), min_size=1),
    st.sampled_from(("either", "both")),
    st.dates(date(1, 1, 1), date(9999, 6, 1)),
)
def test_days_agree_with_a_naive_calendar(
    in_month: list[str] | None,
    in_week: list[str] | None,
    months: frozenset[int],
    days: str,
    start: date,
) -> None:
    expression = "0 0 {} {} {}".format(
        ",".join(in_month or "*"), ",".join(map(str, sorted(months))), ",".join(in_week or "*")
    )
    found = DaySet(parse_cron(expression, days=days))
    by_month = [DAY_ITEMS[item] for item in in_month or ()]
    by_week = [WEEKDAY_ITEMS[item] for item in in_week or ()]

    def matches(day: date) -> bool:
        month_fits = any(test(day) for test in by_month) if by_month else True
        week_fits = any(test(day) for test in by_week) if by_week else True
        if by_month and by_week and days == "either":
            return day.month in months and (month_fits or week_fits)
        return day.month in months and month_fits and week_fits

    first = start.toordinal() - 1
    naive = [first + n for n in range(200) if matches(start + timedelta(n))]
    last = first + 199
    assert list(found.between(first, last)) == naive
    assert found.count(first, last) == len(naive)
    for day in (first, last, (first + last) // 2):
        after, before = found.first_from(day), found.last_upto(day)
        if later := [n for n in naive if n >= day]:
            assert after == later[0]
        else:
            assert after is None or after > last
        if earlier := [n for n in naive if n <= day]:
            assert before == earlier[-1]
        else:
            assert before is None or before < first


def test_every_day_of_the_calendar() -> None:
    every = DaySet(parse_cron("0 0 * * *"))
    assert every.count(0, LAST_DAY) == LAST_DAY + 1 == 3_652_059
    assert sum(1 for _ in every.between(0, 3000)) == 3001
    fridays = DaySet(parse_cron("0 0 * * 5"))
    assert fridays.count(0, LAST_DAY) == 521_723
    # 13 falls on a Friday 688 times in 400 years
    unlucky = DaySet(parse_cron("0 0 13 * 5", days="both"))
    cycle = 146_097
    for start in (0, 1_000, 730_000):
        assert unlucky.count(start, start + cycle - 1) == 688


def test_leap_days_over_all_years() -> None:
    slots = list(
        islice(
            CronSchedule.parse("0 0 29 2 *").between(
                datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
            ),
            5000,
        )
    )
    leap_years = [year for year in range(1, 10_000) if calendar.isleap(year)]
    assert [slot.year for slot in slots] == leap_years
    assert {(slot.month, slot.day) for slot in slots} == {(2, 29)}


# Never, and at what cost

NEVER = ["0 0 31 2 *", "0 0 30 2 *", "0 0 31W 4,6,9,11 *", "0 0 0 1 1 * 2025", "0 0 0 29 2 * 2100"]


@pytest.mark.parametrize("zone", [None, "America/New_York"])
@pytest.mark.parametrize("expression", NEVER)
def test_never_is_an_answer(expression: str, zone: str | None) -> None:
    schedule = CronSchedule.parse(expression, zone)
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule.next_after(after) is None
    assert schedule.upcoming(after, 5) == []
    assert list(schedule.between(after, datetime.max.replace(tzinfo=UTC))) == []
    assert schedule.count_between(after, datetime.max.replace(tzinfo=UTC)) == 0


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 29 2 1"])
def test_never_and_seldom_cost_little_more_than_daily(expression: str) -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC)

    def cost(expression: str) -> float:
        schedule = CronSchedule.parse(expression, "Europe/Berlin", days="both")
        schedule.next_after(after)
        times = []
        for _ in range(7):
            start = time.perf_counter()
            for _ in range(200):
                schedule.next_after(after)
            times.append(time.perf_counter() - start)
        return min(times)

    assert cost(expression) < 10 * cost("0 8 * * *")
