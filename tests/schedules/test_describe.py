"""Cron expressions in words. The table was checked by eye; the properties catch words that say less
than the expression does."""

import random
from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.schedules import parse_schedule
from cronkit_core.schedules.cron import CronSchedule
from cronkit_core.testing import CRON_FEATURES, cron_expressions

# All in UTC, as the description says at its end.
PLAIN = [
    ("* * * * *", "every minute"),
    ("*/1 * * * *", "every minute"),
    ("0-59 * * * *", "every minute"),
    ("*/2 * * * *", "every 2 minutes"),
    ("*/15 * * * *", "every 15 minutes"),
    ("*/30 * * * *", "every 30 minutes"),
    ("0,30 * * * *", "every 30 minutes"),
    ("*/7 * * * *", "at every 7th minute from 0 to 56 of every hour"),
    ("*/45 * * * *", "at every 45th minute from 0 to 45 of every hour"),
    ("0 * * * *", "every hour"),
    ("@hourly", "every hour"),
    ("5 * * * *", "at minute 5 of every hour"),
    ("5,35 * * * *", "at the minutes 5 and 35 of every hour"),
    ("5-10 * * * *", "at the minutes 5 to 10 of every hour"),
    ("1/10 * * * *", "at the minutes 1, 11, 21, 31, 41 and 51 of every hour"),
    ("1/20 * * * *", "at the minutes 1, 21 and 41 of every hour"),
    ("* 9 * * *", "every minute from 09:00 to 09:59 every day"),
    ("* 9-17 * * *", "every minute from 09:00 to 17:59 every day"),
    ("* 9,17 * * *", "every minute of the hours 9 and 17 every day"),
    ("* */2 * * *", "every minute of every 2nd hour from 0 to 22"),
    ("*/15 9 * * *", "every 15 minutes from 09:00 to 09:45 every day"),
    ("*/15 9-17 * * *", "every 15 minutes from 09:00 to 17:45 every day"),
    ("*/15 0-5,22-23 * * *", "every 15 minutes of the hours 0 to 5, 22 and 23 every day"),
    ("*/30 22-2 * * *", "every 30 minutes of the hours 0 to 2, 22 and 23 every day"),
    ("*/7 9 * * *", "at every 7th minute from 0 to 56 of hour 9 every day"),
    ("0 */2 * * *", "every 2 hours"),
    ("0 */5 * * *", "at minute 0 of every 5th hour from 0 to 20"),
    ("5 */2 * * *", "at minute 5 of every 2nd hour from 0 to 22"),
    ("15,45 */6 * * *", "at the minutes 15 and 45 of every 6th hour from 0 to 18"),
    ("0 0-23 * * *", "at minute 0 of the hours 0 to 23 every day"),
    ("0 0/2 * * *", "every 2 hours from 00:00 to 22:00 every day"),
    ("0 0-23/2 * * *", "every 2 hours from 00:00 to 22:00 every day"),
    ("0 1-23/2 * * *", "every 2 hours from 01:00 to 23:00 every day"),
    ("0/15 9-17 * * *", "at the minutes 0, 15, 30 and 45 of the hours 9 to 17 every day"),
    ("0 9-17 * * *", "every hour from 09:00 to 17:00 every day"),
    ("0,30 9-17 * * *", "at the minutes 0 and 30 of the hours 9 to 17 every day"),
    ("17 8-20/3 * * *", "at 08:17, 11:17, 14:17, 17:17 and 20:17 every day"),
    ("0 8 * * *", "at 08:00 every day"),
    ("@daily", "at 00:00 every day"),
    ("@midnight", "at 00:00 every day"),
    ("0 8,20 * * *", "at 08:00 and 20:00 every day"),
    ("30 7,12,18 * * *", "at 07:30, 12:30 and 18:30 every day"),
    ("0,15,30,45 9 * * *", "at 09:00, 09:15, 09:30 and 09:45 every day"),
    ("0 22-2 * * *", "at 00:00, 01:00, 02:00, 22:00 and 23:00 every day"),
    ("5 4-4 * * *", "at 04:05 every day"),
    ("0 8 * * 1-5", "at 08:00, Monday to Friday"),
    ("0 8 * * MON-FRI", "at 08:00, Monday to Friday"),
    ("0 8 * * mon", "at 08:00 on Mondays"),
    ("@weekly", "at 00:00 on Sundays"),
    ("0 8 * * 7", "at 08:00 on Sundays"),
    ("0 8 * * 0,6", "at 08:00 on Saturdays and Sundays"),
    ("0 8 * * 1,3,5", "at 08:00 on Mondays, Wednesdays and Fridays"),
    ("0 8 * * fri-mon", "at 08:00, Friday to Monday"),
    ("0 8 * * 5-7", "at 08:00, Friday to Sunday"),
    ("0 8 * * */2", "at 08:00 on Tuesdays, Thursdays, Saturdays and Sundays"),
    ("0 8 * * 1,2", "at 08:00 on Mondays and Tuesdays"),
    ("0 8 * * 0-7", "at 08:00 every day"),
    ("0 8 ? * *", "at 08:00 every day"),
    ("0 8 ? * 2", "at 08:00 on Tuesdays"),
    ("0 8 * * 5L", "at 08:00 on the last Friday of the month"),
    ("0 8 * * L5", "at 08:00 on the last Friday of the month"),
    ("0 8 * * friL", "at 08:00 on the last Friday of the month"),
    ("0 8 * * 5#2", "at 08:00 on the 2nd Friday of the month"),
    ("0 8 * * mon#1,mon#3", "at 08:00 on the 1st Monday and the 3rd Monday of the month"),
    ("0 8 * * mon#1,tue", "at 08:00 on Tuesdays and the 1st Monday of the month"),
    ("0 8 * * 7#5", "at 08:00 on the 5th Sunday of the month"),
    ("0 0 1 * *", "at 00:00 on the 1st of the month"),
    ("@monthly", "at 00:00 on the 1st of the month"),
    ("0 0 1,15 * *", "at 00:00 on the 1st and the 15th of the month"),
    ("0 0 1-7 * *", "at 00:00 from the 1st to the 7th of the month"),
    ("0 0 1-7,15 * *", "at 00:00 on the 1st to the 7th and the 15th of the month"),
    ("0 0 31 * *", "at 00:00 on the 31st of the month"),
    (
        "0 0 11,12,13,22,23 * *",
        "at 00:00 on the 11th to the 13th, the 22nd and the 23rd of the month",
    ),
    ("0 0 */2 * *", "at 00:00 on every 2nd day from the 1st to the 31st of the month"),
    ("0 0 */10 * *", "at 00:00 on every 10th day from the 1st to the 31st of the month"),
    ("0 0 5/5 * *", "at 00:00 on every 5th day from the 5th to the 30th of the month"),
    ("0 0 30-2 * *", "at 00:00 on the 1st, the 2nd, the 30th and the 31st of the month"),
    ("0 0 L * *", "at 00:00 on the last day of the month"),
    ("0 0 L-3 * *", "at 00:00 on the day 3 days before the last day of the month"),
    ("0 0 L-1 * *", "at 00:00 on the day before the last day of the month"),
    ("0 0 L,L-1,L-2 * *", "at 00:00 on the last 3 days of the month"),
    (
        "0 0 L-1,L-3,LW * *",
        "at 00:00 on the last weekday (Monday to Friday), the day 3 days before the last day "
        "and the day before the last day of the month",
    ),
    ("0 0 LW * *", "at 00:00 on the last weekday (Monday to Friday) of the month"),
    ("0 0 15W * *", "at 00:00 on the weekday (Monday to Friday) nearest the 15th of the month"),
    (
        "0 0 1W,15W * *",
        "at 00:00 on the weekday (Monday to Friday) nearest the 1st "
        "and the weekday (Monday to Friday) nearest the 15th of the month",
    ),
    ("0 0 1,L * *", "at 00:00 on the 1st and the last day of the month"),
    ("0 0 30 2 *", "at 00:00 on the 30th of February"),
    ("0 0 1 1 *", "at 00:00 on the 1st of January"),
    ("@yearly", "at 00:00 on the 1st of January"),
    ("@annually", "at 00:00 on the 1st of January"),
    ("0 0 29 2 *", "at 00:00 on the 29th of February"),
    ("0 0 1 1,7 *", "at 00:00 on the 1st of January and July"),
    ("0 0 1 */3 *", "at 00:00 on the 1st of January, April, July and October"),
    ("0 0 1 mar-may *", "at 00:00 on the 1st of the month from March to May"),
    ("0 0 L feb *", "at 00:00 on the last day of February"),
    ("0 0 * 12 *", "at 00:00 every day in December"),
    ("0 0 * nov-feb *", "at 00:00 every day in January, February, November and December"),
    ("0 9 * 6-8 1-5", "at 09:00, Monday to Friday, from June to August"),
    ("0 9 * 6,7 mon", "at 09:00 on Mondays in June and July"),
    ("* * * 2 *", "every minute in February"),
    ("* * 1 * *", "every minute on the 1st of the month"),
    ("* * * * 1", "every minute on Mondays"),
    (
        "0 0 1,15 * mon",
        "at 00:00 on the 1st and the 15th of the month or on Mondays, whichever matches",
    ),
    ("0 0 13 * fri", "at 00:00 on the 13th of the month or on Fridays, whichever matches"),
    ("0 0 5 5 5", "at 00:00 on the 5th of the month or on Fridays, whichever matches, in May"),
    ("0 8 L * 1-5", "at 08:00 on the last day of the month or Monday to Friday, whichever matches"),
    ("0 8 1-31 * mon", "at 08:00 every day"),
    (
        "0 0 */2 * 1",
        "at 00:00 on Mondays, but only on every 2nd day from the 1st to the 31st of the month",
    ),
    ("0 0 1-7 * */7", "at 00:00 on Sundays, but only from the 1st to the 7th of the month"),
    (
        "0 0 */2 * 1-5",
        "at 00:00, Monday to Friday, "
        "but only on every 2nd day from the 1st to the 31st of the month",
    ),
    ("* * * * * *", "every second"),
    ("*/10 * * * * *", "every 10 seconds"),
    ("*/7 * * * * *", "at every 7th second from 0 to 56 of every minute"),
    ("30 * * * * *", "at second 30 of every minute"),
    ("0,30 * * * * *", "every 30 seconds"),
    ("0 0 8 * * *", "at 08:00 every day"),
    ("30 0 8 * * *", "at 08:00:30 every day"),
    (
        "*/10 5 8 * * *",
        "at 08:05:00, 08:05:10, 08:05:20, 08:05:30, 08:05:40 and 08:05:50 every day",
    ),
    ("* 0 8 * * *", "every second of minute 0 of hour 8 every day"),
    ("*/10 */5 * * * *", "every 10 seconds of every 5th minute from 0 to 55 of every hour"),
    ("15 0 * * * *", "at second 15 of minute 0 of every hour"),
    ("*/10 * 9 * * *", "every 10 seconds of hour 9 every day"),
    ("30 * 9-17 * * 1-5", "at second 30 of every minute of the hours 9 to 17, Monday to Friday"),
    ("0 0 8 * * * 2027", "at 08:00 every day, in 2027"),
    ("0 0 8 * * * 2026-2030", "at 08:00 every day, from 2026 to 2030"),
    ("0 0 8 * * * 2027/2", "at 08:00 every day, every 2nd year from 2027 on"),
    ("0 0 8 * * * */4", "at 08:00 every day, every 4th year from 1970 on"),
    ("0 0 8 * * * 2027,2029", "at 08:00 every day, in 2027 and 2029"),
    ("0 0 8 * * * 2027-9999", "at 08:00 every day, from 2027 on"),
    ("0 0 8 * * * 2026,2028-2030", "at 08:00 every day, in 2026 and 2028 to 2030"),
    ("0 0 0 1 1 * 2030", "at 00:00 on the 1st of January, in 2030"),
    ("* * * * * * 2027", "every second, in 2027"),
    ("0 0 * 3 mon#1", "at 00:00 on the 1st Monday of the month in March"),
    (
        "0 8 */2 6-8 *",
        "at 08:00 on every 2nd day from the 1st to the 31st of the month from June to August",
    ),
    ("0 8 1-7 6-8 *", "at 08:00 from the 1st to the 7th of the month from June to August"),
    (
        "0 8 LW,15 * L1",
        "at 08:00 on the 15th and the last weekday (Monday to Friday) of the month "
        "or on the last Monday of the month, whichever matches",
    ),
]

SKIPPED = "; left out when the clock skips it"
AFTER = "; run right after when the clock skips it"
FIRST = "; in the first pass only when the clock repeats it"
BOTH = "; in both passes when the clock repeats it"

WITH_OPTIONS: list[tuple[str, dict[str, str], str]] = [
    ("*/60 9 * * *", {}, f"at 09:00 every day (UTC){SKIPPED}{BOTH}"),
    (
        "0 0 13 * fri",
        {"days": "both"},
        "at 00:00 on Fridays, but only on the 13th of the month (UTC)",
    ),
    (
        "0 8 1-7 * mon",
        {"days": "both"},
        "at 08:00 on Mondays, but only from the 1st to the 7th of the month (UTC)",
    ),
    (
        "0 8 1-7 3 mon",
        {"days": "both"},
        "at 08:00 on Mondays, but only from the 1st to the 7th of the month, in March (UTC)",
    ),
    ("H 3 * * *", {"seed": "report"}, "at 03:04 every day (UTC)"),
    ("H H * * *", {"seed": "report"}, "at 03:04 every day (UTC)"),
    ("H/15 * * * *", {"seed": "report"}, "at the minutes 4, 19, 34 and 49 of every hour (UTC)"),
    ("H(0-29) 4 * * H", {"seed": "report"}, "at 04:04 on Fridays (UTC)"),
    ("30 2 * * *", {"timezone": "Europe/Berlin"}, "at 02:30 every day (Europe/Berlin)"),
    (
        "30 2 * * *",
        {"gap": "skip", "timezone": "Europe/Berlin"},
        f"at 02:30 every day (Europe/Berlin){SKIPPED}",
    ),
    (
        "30 2 * * *",
        {"overlap": "both", "timezone": "Europe/Berlin"},
        f"at 02:30 every day (Europe/Berlin){BOTH}",
    ),
    ("30 2 * * *", {"gap": "skip", "overlap": "both"}, f"at 02:30 every day (UTC){SKIPPED}{BOTH}"),
    ("30 2 * * *", {"gap": "after", "overlap": "first"}, "at 02:30 every day (UTC)"),
    ("*/30 * * * *", {"gap": "after"}, f"every 30 minutes (UTC){AFTER}"),
    ("*/30 * * * *", {"overlap": "first"}, f"every 30 minutes (UTC){FIRST}"),
    ("*/30 * * * *", {"gap": "after", "overlap": "first"}, f"every 30 minutes (UTC){AFTER}{FIRST}"),
    (
        "0 0-23 * * *",
        {"gap": "skip", "overlap": "both"},
        f"at minute 0 of the hours 0 to 23 every day (UTC){SKIPPED}{BOTH}",
    ),
    ("*/60 9 * * *", {"gap": "after", "overlap": "first"}, "at 09:00 every day (UTC)"),
]


@pytest.mark.parametrize(("expression", "words"), PLAIN)
def test_says_what_an_expression_means(expression: str, words: str) -> None:
    assert CronSchedule.parse(expression).describe() == f"{words} (UTC)"


@pytest.mark.parametrize(("expression", "options", "words"), WITH_OPTIONS)
def test_says_the_zone_and_what_is_not_the_default(
    expression: str, options: dict[str, str], words: str
) -> None:
    assert CronSchedule.parse(expression, **options).describe() == words


CALENDARS = [
    ("Mon..Fri 09:00", "at 09:00, Monday to Friday (UTC)"),
    ("*:0/30", "every 30 minutes (UTC)"),
    ("0/2:00 Europe/Berlin", "every 2 hours (Europe/Berlin)"),
    ("9..17/2:30", "at 09:30, 11:30, 13:30, 15:30 and 17:30 every day (UTC)"),
    ("quarterly", "at 00:00 on the 1st of January, April, July and October (UTC)"),
    ("*-*~01 18:00", "at 18:00 on the last day of the month (UTC)"),
    (
        "Fri *-*~07/1 09:00",
        "at 09:00 on Fridays, but only on the last 7 days of the month (UTC)",
    ),
]


@pytest.mark.parametrize(("calendar", "words"), CALENDARS)
def test_says_calendar_events_of_systemd_in_the_same_words(calendar: str, words: str) -> None:
    assert parse_schedule({"calendar": calendar}).describe() == words


def test_the_case_of_names_and_the_spelling_of_numbers_make_no_difference() -> None:
    said = {CronSchedule.parse(e).describe() for e in ("0 8 * * MON", "00 08 * * mon", "0 8 ? * 1")}
    assert said == {"at 08:00 on Mondays (UTC)"}


# Days before and after the changes of the clock in Berlin, the end of months, a leap year.
SAMPLES = [
    datetime(2024, 2, 28, 22, 59, 30, tzinfo=UTC),
    datetime(2024, 3, 30, 23, tzinfo=UTC),
    datetime(2026, 10, 24, 23, 30, tzinfo=UTC),
    datetime(2027, 5, 7, 12, tzinfo=UTC),
    datetime(2028, 12, 31, 12, tzinfo=UTC),
]


def slots(expression: str, **options: str) -> list[datetime]:
    schedule = CronSchedule.parse(expression, "Europe/Berlin", **options)
    return [slot for start in SAMPLES for slot in schedule.upcoming(start, 12)]


def test_expressions_with_the_same_description_have_the_same_slots() -> None:
    """Fields that are alike but not the same, in random combinations."""
    minutes = [
        "*",
        "0",
        "0-59",
        "*/30",
        "0,30",
        "0/30",
        "*/60",
        "30",
        "5-6",
        "5,6",
        "*/7",
        "0-56/7",
    ]
    hours = ["*", "2", "2,3", "2-3", "*/2", "0-22/2", "0-23", "0/2", "22-2", "*/24", "0", "*/5"]
    of_month = ["*", "?", "1", "1-31", "*/2", "1/2", "1-31/2", "L", "31", "LW", "15W", "15", "L-3"]
    of_month += ["L,L-1", "L-1,L", "L-1", "28-31"]
    months = ["*", "1-12", "3", "3,10", "*/2", "1-11/2", "feb", "oct-mar"]
    of_week = [
        "*",
        "?",
        "0",
        "7",
        "0-6",
        "0-7",
        "1-5",
        "*/7",
        "5L",
        "5#2",
        "5",
        "sun",
        "6,0",
        "5#5",
    ]
    seconds = ["0", "0", "*/30", "0,30", "30", "*/60"]
    pick = random.Random(1970).choice
    said = defaultdict(set)
    for _ in range(6000):
        fields = [pick(seconds), *map(pick, (minutes, hours, of_month, months, of_week))]
        days = pick(("either", "either", "both"))
        policies = pick(({}, {}, {"gap": "skip"}, {"gap": "after", "overlap": "first"}))
        options = {"days": days, **policies}
        words = CronSchedule.parse(" ".join(fields), "Europe/Berlin", **options).describe()
        said[words].add((" ".join(fields), tuple(options.items())))
    alike = [group for group in said.values() if len(group) > 1]
    assert len(alike) > 100
    for group in alike:
        first, *rest = sorted(group)
        expected = slots(first[0], **dict(first[1]))
        for expression, options in rest:
            assert slots(expression, **dict(options)) == expected, (first, expression, options)


@given(cron_expressions(CRON_FEATURES - {"hash", "macros"}), st.data())
def test_a_change_of_one_field_is_heard_or_makes_no_difference(
    expression: str, data: st.DataObject
) -> None:
    fields = expression.split()
    other = data.draw(cron_expressions(CRON_FEATURES - {"hash", "macros"}), "other").split()
    place = data.draw(st.integers(0, min(len(fields), len(other)) - 1), "place")
    if len(fields) == len(other):
        fields[place] = other[place]
    changed = " ".join(fields)
    zone = "Europe/Berlin"
    if (
        CronSchedule.parse(expression, zone).describe()
        == CronSchedule.parse(changed, zone).describe()
    ):
        assert slots(changed) == slots(expression)


@given(cron_expressions(), st.sampled_from(("UTC", "Europe/Berlin", "America/St_Johns")))
def test_is_one_line_that_names_the_zone_and_no_raw_syntax(expression: str, zone: str) -> None:
    words = CronSchedule.parse(expression, zone).describe()
    assert f"({zone})" in words
    assert not set(words) & set("*?#\n_") - set(zone)
    assert words == words.strip()
    assert "  " not in words
