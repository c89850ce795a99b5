"""The examples of RFC 5545 section 3.8.5.3, in the order of the RFC."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from cronkit_core.schedules.rrule import RRuleSchedule

NEW_YORK = ZoneInfo("America/New_York")
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def days(*years: str) -> list[datetime]:
    """ "1997: Sep 2 9-11, Oct 5" as local times at 09:00."""
    found = []
    for line in years:
        year, _, months = line.partition(":")
        for month in months.split(","):
            name, *numbers = month.split()
            for number in numbers:
                first, _, last = number.partition("-")
                found += [
                    datetime(int(year), MONTHS.index(name) + 1, day, 9)
                    for day in range(int(first), int(last or first) + 1)
                ]
    return found


def every_day(first: datetime, last: datetime) -> list[datetime]:
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


ALL_WEEK = "SU,MO,TU,WE,TH,FR,SA"
SEPTEMBER_2 = "19970902T090000"

# title, DTSTART, rule, expected local times, whether they are all
EXAMPLES: list[tuple[str, str, str, list[datetime], bool]] = [
    ("daily for 10", SEPTEMBER_2, "FREQ=DAILY;COUNT=10", days("1997: Sep 2-11"), True),
    (
        "daily until 24 December",
        SEPTEMBER_2,
        "FREQ=DAILY;UNTIL=19971224T000000Z",
        days("1997: Sep 2-30, Oct 1-31, Nov 1-30, Dec 1-23"),
        True,
    ),
    (
        "every other day",
        SEPTEMBER_2,
        "FREQ=DAILY;INTERVAL=2",
        every_day(datetime(1997, 9, 2, 9), datetime(1997, 12, 3, 9))[::2],
        False,
    ),
    (
        "every 10 days, 5",
        SEPTEMBER_2,
        "FREQ=DAILY;INTERVAL=10;COUNT=5",
        days("1997: Sep 2 12 22, Oct 2 12"),
        True,
    ),
    (
        "every day in January for 3 years, yearly",
        "19980101T090000",
        f"FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY={ALL_WEEK}",
        days("1998: Jan 1-31", "1999: Jan 1-31", "2000: Jan 1-31"),
        True,
    ),
    (
        "every day in January for 3 years, daily",
        "19980101T090000",
        "FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1",
        days("1998: Jan 1-31", "1999: Jan 1-31", "2000: Jan 1-31"),
        True,
    ),
    (
        "weekly for 10",
        SEPTEMBER_2,
        "FREQ=WEEKLY;COUNT=10",
        days("1997: Sep 2 9 16 23 30, Oct 7 14 21 28, Nov 4"),
        True,
    ),
    (
        "weekly until 24 December",
        SEPTEMBER_2,
        "FREQ=WEEKLY;UNTIL=19971224T000000Z",
        days("1997: Sep 2 9 16 23 30, Oct 7 14 21 28, Nov 4 11 18 25, Dec 2 9 16 23"),
        True,
    ),
    (
        "every other week",
        SEPTEMBER_2,
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU",
        days("1997: Sep 2 16 30, Oct 14 28, Nov 11 25, Dec 9 23", "1998: Jan 6 20, Feb 3 17"),
        False,
    ),
    (
        "Tuesday and Thursday for five weeks, until",
        SEPTEMBER_2,
        "FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH",
        days("1997: Sep 2 4 9 11 16 18 23 25 30, Oct 2"),
        True,
    ),
    (
        "Tuesday and Thursday for five weeks, count",
        SEPTEMBER_2,
        "FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH",
        days("1997: Sep 2 4 9 11 16 18 23 25 30, Oct 2"),
        True,
    ),
    (
        "every other week on three days until 24 December",
        "19970901T090000",
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
        days(
            "1997: Sep 1 3 5 15 17 19 29, Oct 1 3 13 15 17 27 29 31, "
            "Nov 10 12 14 24 26 28, Dec 8 10 12 22"
        ),
        True,
    ),
    (
        "every other week on Tuesday and Thursday, 8",
        SEPTEMBER_2,
        "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH",
        days("1997: Sep 2 4 16 18 30, Oct 2 14 16"),
        True,
    ),
    (
        "the first Friday for 10",
        "19970905T090000",
        "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
        days("1997: Sep 5, Oct 3, Nov 7, Dec 5", "1998: Jan 2, Feb 6, Mar 6, Apr 3, May 1, Jun 5"),
        True,
    ),
    (
        "the first Friday until 24 December",
        "19970905T090000",
        "FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR",
        days("1997: Sep 5, Oct 3, Nov 7, Dec 5"),
        True,
    ),
    (
        "every other month on the first and the last Sunday, 10",
        "19970907T090000",
        "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
        days("1997: Sep 7 28, Nov 2 30", "1998: Jan 4 25, Mar 1 29, May 3 31"),
        True,
    ),
    (
        "the second-to-last Monday for 6 months",
        "19970922T090000",
        "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO",
        days("1997: Sep 22, Oct 20, Nov 17, Dec 22", "1998: Jan 19, Feb 16"),
        True,
    ),
    (
        "the third-to-the-last day",
        "19970928T090000",
        "FREQ=MONTHLY;BYMONTHDAY=-3",
        days("1997: Sep 28, Oct 29, Nov 28, Dec 29", "1998: Jan 29, Feb 26"),
        False,
    ),
    (
        "the 2nd and 15th, 10",
        SEPTEMBER_2,
        "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15",
        days("1997: Sep 2 15, Oct 2 15, Nov 2 15, Dec 2 15", "1998: Jan 2 15"),
        True,
    ),
    (
        "the first and last day, 10",
        "19970930T090000",
        "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1",
        days("1997: Sep 30, Oct 1 31, Nov 1 30, Dec 1 31", "1998: Jan 1 31, Feb 1"),
        True,
    ),
    (
        "every 18 months on the 10th to 15th, 10",
        "19970910T090000",
        "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15",
        days("1997: Sep 10-15", "1999: Mar 10-13"),
        True,
    ),
    (
        "every Tuesday, every other month",
        SEPTEMBER_2,
        "FREQ=MONTHLY;INTERVAL=2;BYDAY=TU",
        days("1997: Sep 2 9 16 23 30, Nov 4 11 18 25", "1998: Jan 6 13 20 27, Mar 3 10 17 24 31"),
        False,
    ),
    (
        "June and July, 10",
        "19970610T090000",
        "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
        days(*(f"{year}: Jun 10, Jul 10" for year in range(1997, 2002))),
        True,
    ),
    (
        "every other year in January, February and March, 10",
        "19970310T090000",
        "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3",
        days("1997: Mar 10", *(f"{y}: Jan 10, Feb 10, Mar 10" for y in (1999, 2001, 2003))),
        True,
    ),
    (
        "every third year on the 1st, 100th and 200th day, 10",
        "19970101T090000",
        "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
        days(
            "1997: Jan 1, Apr 10, Jul 19",
            "2000: Jan 1, Apr 9, Jul 18",
            "2003: Jan 1, Apr 10, Jul 19",
            "2006: Jan 1",
        ),
        True,
    ),
    (
        "every 20th Monday of the year",
        "19970519T090000",
        "FREQ=YEARLY;BYDAY=20MO",
        days("1997: May 19", "1998: May 18", "1999: May 17"),
        False,
    ),
    (
        "Monday of week 20",
        "19970512T090000",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        days("1997: May 12", "1998: May 11", "1999: May 17"),
        False,
    ),
    (
        "every Thursday in March",
        "19970313T090000",
        "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
        days("1997: Mar 13 20 27", "1998: Mar 5 12 19 26", "1999: Mar 4 11 18 25"),
        False,
    ),
    (
        "every Thursday in June, July and August",
        "19970605T090000",
        "FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8",
        days(
            "1997: Jun 5 12 19 26, Jul 3 10 17 24 31, Aug 7 14 21 28",
            "1998: Jun 4 11 18 25, Jul 2 9 16 23 30, Aug 6 13 20 27",
            "1999: Jun 3 10 17 24, Jul 1 8 15 22 29, Aug 5 12 19 26",
        ),
        False,
    ),
    (
        "every Friday the 13th",
        SEPTEMBER_2,
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        days("1998: Feb 13, Mar 13, Nov 13", "1999: Aug 13", "2000: Oct 13"),
        False,
    ),
    (
        "the first Saturday that follows the first Sunday",
        "19970913T090000",
        "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13",
        days(
            "1997: Sep 13, Oct 11, Nov 8, Dec 13",
            "1998: Jan 10, Feb 7, Mar 7, Apr 11, May 9, Jun 13",
        ),
        False,
    ),
    (
        "election day",
        "19961105T090000",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        days("1996: Nov 5", "2000: Nov 7", "2004: Nov 2"),
        False,
    ),
    (
        "the third of Tuesday, Wednesday and Thursday, 3",
        "19970904T090000",
        "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
        days("1997: Sep 4, Oct 7, Nov 6"),
        True,
    ),
    (
        "the second-to-last weekday",
        "19970929T090000",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
        days("1997: Sep 29, Oct 30, Nov 27, Dec 30", "1998: Jan 29, Feb 26, Mar 30"),
        False,
    ),
    (
        # an erratum: 17:00 was meant locally, and in UTC it is 21:00
        "every 3 hours from 9:00 to 17:00",
        SEPTEMBER_2,
        "FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T210000Z",
        [datetime(1997, 9, 2, hour) for hour in (9, 12, 15)],
        True,
    ),
    (
        "every 3 hours, as printed",
        SEPTEMBER_2,
        "FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000Z",
        [datetime(1997, 9, 2, hour) for hour in (9, 12)],
        True,
    ),
    (
        "every 15 minutes, 6",
        SEPTEMBER_2,
        "FREQ=MINUTELY;INTERVAL=15;COUNT=6",
        [datetime(1997, 9, 2, 9) + timedelta(minutes=15 * i) for i in range(6)],
        True,
    ),
    (
        "every hour and a half, 4",
        SEPTEMBER_2,
        "FREQ=MINUTELY;INTERVAL=90;COUNT=4",
        [datetime(1997, 9, 2, 9) + timedelta(minutes=90 * i) for i in range(4)],
        True,
    ),
    *(
        (
            f"every 20 minutes from 9:00 to 16:40, {rule[5:10]}",
            SEPTEMBER_2,
            rule,
            [
                datetime(1997, 9, day, hour, minute)
                for day in (2, 3)
                for hour in range(9, 17)
                for minute in (0, 20, 40)
            ],
            False,
        )
        for rule in (
            "FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40",
            "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10,11,12,13,14,15,16",
        )
    ),
    (
        "weeks from Monday",
        "19970805T090000",
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
        days("1997: Aug 5 10 19 24"),
        True,
    ),
    (
        "weeks from Sunday",
        "19970805T090000",
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
        days("1997: Aug 5 17 19 31"),
        True,
    ),
    (
        "30 February is ignored",
        "20070115T090000",
        "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5",
        days("2007: Jan 15 30, Feb 15, Mar 15 30"),
        True,
    ),
]


@pytest.mark.parametrize(
    ("start", "rule", "expected", "whole"),
    [example[1:] for example in EXAMPLES],
    ids=[example[0] for example in EXAMPLES],
)
def test_rfc_5545(start: str, rule: str, expected: list[datetime], whole: bool) -> None:
    schedule = RRuleSchedule.parse(f"DTSTART;TZID=America/New_York:{start}\nRRULE:{rule}")
    slots = list(islice(schedule.between(FIRST, LAST), len(expected) + whole))

    assert [slot.astimezone(NEW_YORK).replace(tzinfo=None) for slot in slots] == expected


def test_the_example_with_an_exclusion() -> None:
    """The RFC takes DTSTART for the first instance, and so excludes it here; it is no slot of ours
    where the rule does not name it, and excluding it changes nothing."""
    lines = (
        "DTSTART;TZID=America/New_York:19970902T090000\nRRULE:FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13"
    )
    with_exdate = f"{lines}\nEXDATE;TZID=America/New_York:19970902T090000"

    slots = RRuleSchedule.parse(with_exdate).upcoming(FIRST, 3)

    assert slots == RRuleSchedule.parse(lines).upcoming(FIRST, 3)
    assert slots[0] == datetime(1998, 2, 13, 9, tzinfo=NEW_YORK)


def test_times_follow_the_clock() -> None:
    """09:00 is 13:00 UTC in summer, 14:00 in winter: "EDT" and "EST" in the RFC."""
    schedule = RRuleSchedule.parse(
        "DTSTART;TZID=America/New_York:19970902T090000\nRRULE:FREQ=WEEKLY;COUNT=10"
    )

    hours = [slot.hour for slot in schedule.upcoming(FIRST, 10)]

    assert hours == [13] * 8 + [14] * 2


def test_the_grammar_section_s_example() -> None:
    """Section 3.3.10: every Sunday in January at 8:30 and 9:30, every other year."""
    schedule = RRuleSchedule.parse(
        "DTSTART;TZID=America/New_York:19970105T083000\n"
        "RRULE:FREQ=YEARLY;INTERVAL=2;BYMONTH=1;BYDAY=SU;BYHOUR=8,9;BYMINUTE=30"
    )

    slots = [slot.astimezone(NEW_YORK) for slot in schedule.upcoming(FIRST, 10)]

    assert [f"{slot:%Y-%m-%d %H:%M}" for slot in slots] == [
        "1997-01-05 08:30",
        "1997-01-05 09:30",
        "1997-01-12 08:30",
        "1997-01-12 09:30",
        "1997-01-19 08:30",
        "1997-01-19 09:30",
        "1997-01-26 08:30",
        "1997-01-26 09:30",
        "1999-01-03 08:30",
        "1999-01-03 09:30",
    ]
