"""Recurrence rules in words. The table was checked by eye; the property catches words that say less
than the rule does."""

import random
from collections import defaultdict
from datetime import UTC, datetime

import pytest

from cronkit_core.schedules.rrule import RRuleSchedule

# All in UTC, as the description says at its end.
PLAIN = [
    ("FREQ=DAILY", "at 00:00 every day"),
    ("FREQ=DAILY;INTERVAL=3", "at 00:00 every 3 days, counted from 1970-01-01"),
    ("FREQ=DAILY;BYHOUR=9,17;BYMINUTE=30", "at 09:30 and 17:30 every day"),
    ("FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16,17", "at minute 0 of the hours 9 to 17 every day"),
    ("FREQ=DAILY;BYDAY=MO", "at 00:00 on Mondays"),
    ("FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "at 00:00, Monday to Friday"),
    ("FREQ=DAILY;BYMONTH=1", "at 00:00 every day in January"),
    (
        "FREQ=DAILY;INTERVAL=2;BYDAY=MO;BYMONTH=1,2,3",
        "at 00:00 every 2 days, but only on Mondays from January to March, counted from 1970-01-01",
    ),
    ("FREQ=DAILY;BYMONTHDAY=13;BYDAY=FR", "at 00:00 on Fridays, but only on the 13th of the month"),
    (
        "FREQ=DAILY;BYMONTHDAY=1,15,-1",
        "at 00:00 on the 1st, the 15th and the last day of the month",
    ),
    (
        "FREQ=DAILY;BYHOUR=9,10,11;BYSETPOS=-1",
        "at 09:00, 10:00 and 11:00 every day, of these the last of the day",
    ),
    ("FREQ=WEEKLY", "at 00:00 on Thursdays"),
    ("FREQ=WEEKLY;BYDAY=MO", "at 00:00 on Mondays"),
    ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYHOUR=9", "at 09:00 on Mondays, Wednesdays and Fridays"),
    (
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;WKST=SU",
        "at 00:00 on Mondays and Sundays of every 2nd week, weeks beginning on Sunday, "
        "counted from 1970-01-01",
    ),
    (
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1",
        "at 00:00, Monday to Friday, of these the 1st of the week",
    ),
    (
        "FREQ=WEEKLY;BYDAY=SA,SU;BYMONTH=6,7,8",
        "at 00:00 on Saturdays and Sundays from June to August",
    ),
    ("FREQ=MONTHLY", "at 00:00 on the 1st of the month"),
    ("FREQ=MONTHLY;BYMONTHDAY=31", "at 00:00 on the 31st of the month"),
    ("FREQ=MONTHLY;BYMONTHDAY=-1", "at 00:00 on the last day of the month"),
    (
        "FREQ=MONTHLY;BYMONTHDAY=1,15,-3",
        "at 00:00 on the 1st, the 15th and the 3rd last day of the month",
    ),
    (
        "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=10,11,12,13",
        "at 00:00 on the 10th to the 13th of every 3rd month, counted from 1970-01-01",
    ),
    ("FREQ=MONTHLY;BYDAY=1FR", "at 00:00 on the 1st Friday of the month"),
    ("FREQ=MONTHLY;BYDAY=1SU,-1SU", "at 00:00 on the 1st Sunday and the last Sunday of the month"),
    (
        "FREQ=MONTHLY;INTERVAL=2;BYDAY=-2MO",
        "at 00:00 on the 2nd last Monday of every 2nd month, counted from 1970-01-01",
    ),
    (
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "at 00:00, Monday to Friday, of these the last of the month",
    ),
    (
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        "at 00:00 on Fridays, but only on the 13th of the month",
    ),
    ("FREQ=MONTHLY;BYDAY=1MO,TU", "at 00:00 on Tuesdays and the 1st Monday of the month"),
    (
        "FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=10",
        "at 00:00 on the 10th of every 18th month, counted from 1970-01-01",
    ),
    ("FREQ=MONTHLY;BYDAY=MO", "at 00:00 on Mondays"),
    (
        "FREQ=MONTHLY;INTERVAL=2;BYDAY=MO,TU,WE",
        "at 00:00, Monday to Wednesday of every 2nd month, counted from 1970-01-01",
    ),
    ("FREQ=YEARLY", "at 00:00 on the 1st of January"),
    ("FREQ=YEARLY;BYMONTH=6,7", "at 00:00 on the 1st of June and July"),
    ("FREQ=YEARLY;BYMONTH=7;BYMONTHDAY=4", "at 00:00 on the 4th of July"),
    (
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        "at 00:00 on Tuesdays, but only on the 2nd to the 8th of the month in November "
        "of every 4th year, counted from 1970-01-01",
    ),
    ("FREQ=YEARLY;BYDAY=20MO", "at 00:00 on the 20th Monday of the year"),
    ("FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10", "at 00:00 on the last Sunday of the month in October"),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "at 00:00 on Mondays, but only in week 20 of the year"),
    ("FREQ=YEARLY;BYWEEKNO=20", "at 00:00 on Thursdays, but only in week 20 of the year"),
    (
        "FREQ=YEARLY;BYYEARDAY=1,100,200",
        "at 00:00 on the 1st, the 100th and the 200th day of the year",
    ),
    ("FREQ=YEARLY;BYYEARDAY=-1", "at 00:00 on the last day of the year"),
    ("FREQ=YEARLY;BYMONTH=1;BYDAY=SU,MO", "at 00:00 on Mondays and Sundays in January"),
    (
        "FREQ=YEARLY;BYMONTHDAY=13;BYDAY=FR",
        "at 00:00 on Fridays, but only on the 13th of the month",
    ),
    (
        "FREQ=YEARLY;INTERVAL=2;BYMONTH=1,2,3,4",
        "at 00:00 on the 1st of the month from January to April of every 2nd year, "
        "counted from 1970-01-01",
    ),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "at 00:00 on the 30th of February"),
    (
        "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=BACKWARD;BYMONTHDAY=31",
        "at 00:00 on the 31st of the month (the day before where there is no such day)",
    ),
    (
        "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD;BYMONTHDAY=30;INTERVAL=2",
        "at 00:00 on the 30th of every 2nd month (the day after where there is no such day), "
        "counted from 1970-01-01",
    ),
    (
        "RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FORWARD;BYMONTH=2;BYMONTHDAY=29",
        "at 00:00 on the 29th of February (the day after where there is no such day)",
    ),
    (
        "RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=OMIT;BYMONTHDAY=31",
        "at 00:00 on the 31st of the month",
    ),
    # no day can be wanting there
    ("RSCALE=GREGORIAN;FREQ=DAILY;SKIP=BACKWARD", "at 00:00 every day"),
    ("FREQ=HOURLY", "every hour"),
    ("FREQ=HOURLY;INTERVAL=3", "every 3 hours"),
    ("FREQ=HOURLY;BYMINUTE=0,30", "every hour at the minutes 0 and 30"),
    ("FREQ=HOURLY;INTERVAL=5", "every 5 hours, counted from 1970-01-01"),
    (
        "FREQ=HOURLY;BYHOUR=9,10,11,12;BYDAY=MO,TU,WE,TH,FR",
        "every hour, but only in the hours 9 to 12, Monday to Friday",
    ),
    ("FREQ=MINUTELY", "every minute"),
    (
        "FREQ=MINUTELY;INTERVAL=15;BYHOUR=9,10,11,12,13,14,15,16",
        "every 15 minutes of the hours 9 to 16",
    ),
    ("FREQ=MINUTELY;INTERVAL=7", "every 7 minutes, counted from 1970-01-01"),
    (
        "FREQ=MINUTELY;BYMINUTE=0,20,40;BYHOUR=9",
        "every minute, but only in the minutes 0, 20 and 40 of hour 9",
    ),
    ("FREQ=MINUTELY;BYSECOND=0,30", "every minute at the seconds 0 and 30"),
    ("FREQ=SECONDLY", "every second"),
    ("FREQ=SECONDLY;INTERVAL=30", "every 30 seconds"),
    ("FREQ=SECONDLY;BYMONTH=2", "every second in February"),
    (
        "FREQ=SECONDLY;BYSECOND=5;BYMINUTE=1;BYHOUR=9",
        "every second, but only in second 5 of minute 1 of hour 9",
    ),
    (
        "FREQ=HOURLY;BYMINUTE=0,15,30,45;BYSETPOS=1,-1",
        "every hour at the minutes 0, 15, 30 and 45 (the 1st and the last of these in the hour)",
    ),
    (
        "FREQ=HOURLY;BYMONTHDAY=1;BYDAY=MO;BYMONTH=1",
        "every hour on Mondays, but only on the 1st of the month in January",
    ),
    (
        "FREQ=WEEKLY;BYDAY=MO;UNTIL=20271224T000000Z",
        "at 00:00 on Mondays, until 2027-12-24 00:00 UTC",
    ),
    ("FREQ=WEEKLY;BYDAY=MO;UNTIL=20271224", "at 00:00 on Mondays, until the end of 2027-12-24"),
]

HEAD = "DTSTART;TZID=Europe/Berlin:20270104T090000\n"
WITH_MORE: list[tuple[str, dict, str]] = [
    ("FREQ=DAILY;BYHOUR=2", {"timezone": "Europe/Berlin"}, "at 02:00 every day (Europe/Berlin)"),
    (
        "FREQ=DAILY;BYHOUR=2",
        {"timezone": "Europe/Berlin", "nonexistent": "skip"},
        "at 02:00 every day (Europe/Berlin); left out when the clock skips it",
    ),
    ("FREQ=HOURLY", {"nonexistent": "skip"}, "every hour (UTC)"),
    (
        f"{HEAD}RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=10",
        {},
        "at 09:00 on Mondays of every 2nd week, from 2027-01-04 09:00 on, 10 times (Europe/Berlin)",
    ),
    (
        f"{HEAD}RRULE:FREQ=YEARLY;COUNT=1",
        {},
        "at 09:00 on the 4th of January, from 2027-01-04 09:00 on, once (Europe/Berlin)",
    ),
    (
        "FREQ=DAILY",
        {"dtstart": "2027-01-04T09:00:30"},
        "at 09:00:30 every day, from 2027-01-04 09:00:30 on (UTC)",
    ),
    (
        f"{HEAD}RRULE:FREQ=MONTHLY;BYMONTHDAY=1\nRRULE:FREQ=WEEKLY;BYDAY=FR",
        {},
        "at 09:00 on the 1st of the month, from 2027-01-04 09:00 on; "
        "and at 09:00 on Fridays, from 2027-01-04 09:00 on (Europe/Berlin)",
    ),
    (
        "RRULE:FREQ=WEEKLY;BYDAY=FR\nEXRULE:FREQ=MONTHLY;BYDAY=-1FR",
        {},
        "at 00:00 on Fridays; except at 00:00 on the last Friday of the month (UTC)",
    ),
    (
        "FREQ=DAILY",
        {"exdate": ["2027-12-25", "2027-12-26", "2027-01-01T00:00"]},
        "at 00:00 every day; except at 2027-01-01 00:00; "
        "except all day on 2027-12-25 and 2027-12-26 (UTC)",
    ),
    (
        "FREQ=DAILY",
        {"rdate": ["2027-01-01T12:00", "2027-01-02T12:00"], "timezone": "Asia/Tokyo"},
        "at 00:00 every day; and on 2027-01-01 12:00 and 2027-01-02 12:00 (Asia/Tokyo)",
    ),
    (
        "RDATE:20270105T100000,20270106T100000,20270107T100000,20270108T100000,20270109T100000",
        {},
        "on 2027-01-05 10:00, 2027-01-06 10:00, 2027-01-07 10:00 and 2 more (UTC)",
    ),
]


@pytest.mark.parametrize(("text", "words"), PLAIN)
def test_says_what_a_rule_means(text: str, words: str) -> None:
    assert RRuleSchedule.parse(text).describe() == f"{words} (UTC)"


@pytest.mark.parametrize(("text", "arguments", "words"), WITH_MORE)
def test_says_the_start_the_end_and_what_is_added_or_taken_out(
    text: str, arguments: dict, words: str
) -> None:
    assert RRuleSchedule.parse(text, **arguments).describe() == words


SAMPLES = [datetime(2024, 2, 28, 22, 59, 30, tzinfo=UTC), datetime(2027, 5, 7, 12, tzinfo=UTC)]
PARTS = {
    "INTERVAL": ["1", "2", "3", "24", "90"],
    "BYMONTH": ["2", "1,2,3", "1,3", "1,2,3,4,5,6,7,8,9,10,11,12"],
    "BYMONTHDAY": ["1", "-1", "1,2,3", "31", "1,-1", "13"],
    "BYDAY": ["MO", "MO,TU,WE", "MO,TU,WE,TH,FR,SA,SU", "SA,SU", "1MO", "-1MO", "MO,1TU"],
    "BYYEARDAY": ["1", "-1", "60"],
    "BYWEEKNO": ["1", "-1", "20"],
    "BYHOUR": ["2", "9,17", "1,2,3,4,5,6,7"],
    "BYMINUTE": ["0", "30", "0,30"],
    "BYSECOND": ["0", "30"],
    "BYSETPOS": ["1", "-1", "1,2"],
    "WKST": ["MO", "SU"],
    "SKIP": ["OMIT", "BACKWARD", "FORWARD"],
}
FREQS = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"]


def test_rules_with_the_same_description_have_the_same_slots() -> None:
    """Rules that are alike but not the same, in random combinations."""
    pick = random.Random(5545)
    said: dict[str, dict[RRuleSchedule, str]] = defaultdict(dict)  # equal ones have the same slots
    for _ in range(5000):
        parts = [f"RSCALE=GREGORIAN;FREQ={pick.choice(FREQS)}"]
        names = pick.sample(sorted(PARTS), pick.choice([0, 1, 1, 2, 2, 3]))
        parts += [f"{name}={pick.choice(PARTS[name])}" for name in names]
        start = pick.choice(["", "DTSTART:20240131T023000\n", "DTSTART:20240201T020000\n"])
        text = f"{start}RRULE:{';'.join(parts)}"
        try:
            schedule = RRuleSchedule.parse(text, "Europe/Berlin")
        except ValueError:
            continue
        said[schedule.describe()].setdefault(schedule, text)
    alike = [[*group.items()] for group in said.values() if len(group) > 1]
    assert len(alike) > 200
    for (first, text), *rest in alike:
        expected = slots(first)
        for schedule, other in rest:
            assert slots(schedule) == expected, (text, other)


def slots(schedule: RRuleSchedule) -> list[datetime]:
    return [slot for start in SAMPLES for slot in schedule.upcoming(start, 12)]
