"""The grammar of cron expressions: what each construct names, and what each mistake says."""

import copy
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.errors import InvalidSchedule
from cronkit_core.schedules.cron import CronSchedule


def numbers(expression: str, field: str, **options: str) -> set[int]:
    """What `field` ("minute", "day", "weekday", ...) of the expression holds."""
    mask = getattr(CronSchedule.parse(expression, **options).parts, field).mask
    return {n for n in range(10_000) if mask >> n & 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", range(60)),
        ("7", [7]),
        ("07", [7]),
        ("8-8", [8]),
        ("8-8/3", [8]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("1-10/4", [1, 5, 9]),
        ("*/15", [0, 15, 30, 45]),
        ("*/7", [0, 7, 14, 21, 28, 35, 42, 49, 56]),
        ("*/1", range(60)),
        ("*/60", [0]),
        ("*/99999", [0]),
        ("50/4", [50, 54, 58]),
        ("58-1", [58, 59, 0, 1]),
        ("55-4/3", [55, 58, 1, 4]),
        ("1,1,3-4,3", [1, 3, 4]),
        ("*,5", range(60)),
    ],
)
def test_minutes(text: str, expected: list[int]) -> None:
    assert numbers(f"{text} * * * *", "minute") == set(expected)


@pytest.mark.parametrize(
    ("field", "expression", "expected"),
    [
        ("hour", "0 22-2 * * *", [22, 23, 0, 1, 2]),
        ("hour", "0 22-2/2 * * *", [22, 0, 2]),
        ("hour", "0 9/4 * * *", [9, 13, 17, 21]),
        ("day", "0 0 30-2 * *", [30, 31, 1, 2]),
        ("day", "0 0 */10 * *", [1, 11, 21, 31]),
        ("day", "0 0 ? * *", range(1, 32)),
        ("month", "0 0 1 nov-feb *", [11, 12, 1, 2]),
        ("month", "0 0 1 JAN,Mar,12 *", [1, 3, 12]),
        ("month", "0 0 1 */5 *", [1, 6, 11]),
        ("month", "0 0 1 oct/1 *", [10, 11, 12]),
        ("weekday", "0 0 * * 0", [0]),
        ("weekday", "0 0 * * 7", [0]),
        ("weekday", "0 0 * * 7-7", [0]),
        ("weekday", "0 0 * * 0,7", [0]),
        ("weekday", "0 0 * * 0-7", range(7)),
        ("weekday", "0 0 * * 5-7", [5, 6, 0]),
        ("weekday", "0 0 * * 7-2", [0, 1, 2]),
        ("weekday", "0 0 * * fri-mon", [5, 6, 0, 1]),
        ("weekday", "0 0 * * FRI-Sun", [5, 6, 0]),
        ("weekday", "0 0 * * fri-mon/2", [5, 0]),
        ("weekday", "0 0 * * 1-7/2", [1, 3, 5, 0]),
        ("weekday", "0 0 * * */2", [0, 2, 4, 6]),
        ("weekday", "0 0 * * 1/2", [1, 3, 5]),
        ("weekday", "0 0 * * 7/3", [0, 3, 6]),
        ("weekday", "0 0 * * ?", range(7)),
        ("second", "0 0 * * *", [0]),
        ("second", "*/20 0 0 * * *", [0, 20, 40]),
        ("minute", "30 15 10 * * *", [15]),
        ("year", "0 0 0 1 1 * 2030-2032", [2030, 2031, 2032]),
        ("year", "0 0 0 1 1 * 9990/4", [9990, 9994, 9998]),
        ("year", "0 0 * * *", range(1, 10_000)),
        ("year", "0 0 0 * * * */1", range(1, 10_000)),
        ("year", "0 0 0 * * * */4", range(1970, 10_000, 4)),
    ],
)
def test_other_fields(field: str, expression: str, expected: list[int]) -> None:
    assert numbers(expression, field) == set(expected)


@pytest.mark.parametrize(
    ("macro", "expression"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_macros(macro: str, expression: str) -> None:
    assert CronSchedule.parse(macro) == CronSchedule.parse(expression)
    assert CronSchedule.parse(macro).to_dict() == {"cron": macro}


FIELDS = (
    "a cron expression has 5 (minute hour day-of-month month day-of-week), 6 (second first) or 7 "
    "(second first, year last)"
)
MINUTES = "0 to 59, or *"
DAYS = "1 to 31, L, or *"
WEEKDAYS = "0 to 7 (0 and 7 are Sunday), SUN to SAT, or *"


@pytest.mark.parametrize(
    ("expression", "where", "message"),
    [
        ("", "", f"'' has 0 fields: {FIELDS}"),
        ("*", "", f"'*' has 1 field: {FIELDS}"),
        ("0 0 * *", "", f"'0 0 * *' has 4 fields: {FIELDS}"),
        ("0 0 0 0 * * * *", "", f"'0 0 0 0 * * * *' has 8 fields: {FIELDS}"),
        ("60 * * * *", "minute", f"bad minute '60' in '60 * * * *': {MINUTES}"),
        ("1,60 * * * *", "minute", f"bad minute '60' in '1,60 * * * *': {MINUTES}"),
        ("1,,2 * * * *", "minute", f"bad minute '' in '1,,2 * * * *': {MINUTES}"),
        ("1, * * * *", "minute", f"bad minute '' in '1, * * * *': {MINUTES}"),
        ("-1 * * * *", "minute", f"bad minute '-1' in '-1 * * * *': {MINUTES}"),
        ("*-5 * * * *", "minute", f"bad minute '*-5' in '*-5 * * * *': {MINUTES}"),
        ("1.5 * * * *", "minute", f"bad minute '1.5' in '1.5 * * * *': {MINUTES}"),
        ("jan * * * *", "minute", f"bad minute 'jan' in 'jan * * * *': {MINUTES}"),
        ("٣ * * * *", "minute", f"bad minute '٣' in '٣ * * * *': {MINUTES}"),
        (
            "*/0 * * * *",
            "minute",
            "bad minute '*/0' in '*/0 * * * *': the step after / is 1 or more",
        ),
        (
            "? * * * *",
            "minute",
            "bad minute '?' in '? * * * *': ? stands for * in the two day fields only; write *",
        ),
        ("0 24 * * *", "hour", "bad hour '24' in '0 24 * * *': 0 to 23, or *"),
        ("0 0 32 * *", "day-of-month", f"bad day-of-month '32' in '0 0 32 * *': {DAYS}"),
        ("0 0 0 * *", "day-of-month", f"bad day-of-month '0' in '0 0 0 * *': {DAYS}"),
        ("0 0 32W * *", "day-of-month", f"bad day-of-month '32W' in '0 0 32W * *': {DAYS}"),
        ("0 0 1-5W * *", "day-of-month", f"bad day-of-month '1-5W' in '0 0 1-5W * *': {DAYS}"),
        ("0 0 5L * *", "day-of-month", f"bad day-of-month '5L' in '0 0 5L * *': {DAYS}"),
        (
            "0 0 L-31 * *",
            "day-of-month",
            "bad day-of-month 'L-31' in '0 0 L-31 * *': L-1 to L-30, or L",
        ),
        ("0 0 1 13 *", "month", "bad month '13' in '0 0 1 13 *': 1 to 12, JAN to DEC, or *"),
        ("0 0 1 Foo *", "month", "bad month 'Foo' in '0 0 1 Foo *': 1 to 12, JAN to DEC, or *"),
        ("0 0 * * 8", "day-of-week", f"bad day-of-week '8' in '0 0 * * 8': {WEEKDAYS}"),
        ("0 0 * * 15W", "day-of-week", f"bad day-of-week '15W' in '0 0 * * 15W': {WEEKDAYS}"),
        (
            "0 0 * * monday",
            "day-of-week",
            f"bad day-of-week 'monday' in '0 0 * * monday': {WEEKDAYS}",
        ),
        (
            "0 0 * * L",
            "day-of-week",
            "bad day-of-week 'L' in '0 0 * * L': L needs a day here, as in 5L or FRIL, the last "
            "Friday",
        ),
        (
            "0 0 * * fri#6",
            "day-of-week",
            "bad day-of-week 'fri#6' in '0 0 * * fri#6': the number after # is 1 to 5",
        ),
        (
            "60 0 0 * * *",
            "second",
            "bad second '60' in '60 0 0 * * *': 0 to 59, or * (of six or seven fields, the "
            "first is the second)",
        ),
        ("0 0 0 1 1 * 0", "year", "bad year '0' in '0 0 0 1 1 * 0': 1 to 9999, or *"),
        (
            "0 0 0 1 1 * 2030-2020",
            "year",
            "bad year '2030-2020' in '0 0 0 1 1 * 2030-2020': a range of years runs forward",
        ),
        (
            "H 0 * * *",
            "minute",
            "bad minute 'H' in 'H 0 * * *': H is hashed from the task's name; pass it as seed, or "
            "write a number",
        ),
        (
            "@reboot",
            "",
            "'@reboot' names no time: start the work when your program starts, or use "
            "{'at': ...} for a single time",
        ),
        (
            "@every 5m",
            "",
            "'@every 5m' is an interval, not a cron expression: give it to parse_schedule",
        ),
        ("@dayly", "", "unknown '@dayly': did you mean '@daily'?"),
        (
            "@q",
            "",
            "unknown '@q': one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, "
            "@hourly",
        ),
        (5, "", "a cron expression is text such as '0 8 * * *', not 5"),
        (None, "", "a cron expression is text such as '0 8 * * *', not None"),
    ],
)
def test_mistakes_name_the_datum_the_place_and_the_remedy(
    expression: str, where: str, message: str
) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        CronSchedule.parse(expression)
    assert str(raised.value) == message
    assert raised.value.where == where
    assert raised.value.spec == expression


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        ({"gap": "first"}, "gap", "bad gap 'first': 'after' or 'skip'"),
        ({"overlap": True}, "overlap", "bad overlap True: 'first' or 'both'"),
        ({"days": None}, "days", "bad days None: 'either' or 'both'"),
        ({"days": []}, "days", "bad days a list: 'either' or 'both'"),
        ({"seed": 7}, "seed", "a seed is text, not 7"),
        (
            {"timezone": "Europe/Berln"},
            "timezone",
            "unknown timezone 'Europe/Berln': did you mean 'Europe/Berlin'",
        ),
        ({"timezone": 1}, "timezone", "a timezone is an IANA name such as 'Europe/Berlin', not 1"),
        (
            {"timezone": ["UTC"]},
            "timezone",
            "a timezone is an IANA name such as 'Europe/Berlin', not a list",
        ),
    ],
)
def test_mistakes_in_the_options(options: dict[str, object], where: str, message: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        CronSchedule.parse("0 0 * * *", **options)
    assert str(raised.value).startswith(message)
    assert raised.value.where == where


@pytest.mark.parametrize("text", ["9" * 100_000 + " * * * *", "0 0 0 1 1 * " + "1/2," * 100_000])
def test_a_huge_expression_is_refused_at_once(text: str) -> None:
    with pytest.raises(InvalidSchedule, match="characters: 2,000 is the most"):
        CronSchedule.parse(text)


def test_a_bad_item_is_not_shown_at_length() -> None:
    with pytest.raises(InvalidSchedule) as raised:
        CronSchedule.parse("9" * 1_000 + " * * * *")
    assert len(str(raised.value)) < 300


# H


def test_a_hash_is_stable_everywhere() -> None:
    # Written down once: a change of these moves every task that uses H.
    schedule = CronSchedule.parse("H H H H H", seed="backup")
    chosen = [field.mask.bit_length() - 1 for field in schedule.parts.fields[1:6]]
    assert chosen == [27, 5, 3, 5, 3]
    assert numbers("H/15 * * * *", "minute", seed="backup") == {12, 27, 42, 57}
    assert numbers("H(0-29)/10 * * * *", "minute", seed="backup") == {7, 17, 27}


@given(st.text())
def test_a_hash_keeps_to_its_range(seed: str) -> None:
    assert len(numbers("H * * * *", "minute", seed=seed)) == 1
    assert numbers("H(10-19) * * * *", "minute", seed=seed) <= set(range(10, 20))
    assert numbers("0 0 H * *", "day", seed=seed) <= set(range(1, 29))
    assert numbers("0 0 * * H", "weekday", seed=seed) <= set(range(7))
    assert numbers("0 0 * * H(5-7)", "weekday", seed=seed) <= {5, 6, 0}
    quarters = numbers("h/15 * * * *", "minute", seed=seed)
    assert len(quarters) == 4
    assert len({n % 15 for n in quarters}) == 1
    assert {n // 10 for n in numbers("H(0-29)/10 * * * *", "minute", seed=seed)} == {0, 1, 2}


def test_hashes_spread() -> None:
    minutes = [numbers("H * * * *", "minute", seed=f"task {n}").pop() for n in range(600)]
    assert len(set(minutes)) == 60
    assert max(map(minutes.count, set(minutes))) < 30


def test_the_seed_matters_only_where_there_is_a_hash() -> None:
    assert CronSchedule.parse("5 0 * * thu", seed="a") == CronSchedule.parse("5 0 * * 4")
    assert "seed" not in CronSchedule.parse("5 0 * * thu", seed="a").to_dict()
    assert CronSchedule.parse("H 0 * * *", seed="a") != CronSchedule.parse("H 0 * * *", seed="b")


# Values


EQUAL = [
    ("0 8 * * MON", "00 8 * * 1"),
    ("0 0 * * sun", "0 0 * * 7"),
    ("0  0\t1 * *", "0 0 1 jan-dec *"),
    ("@daily", "0 0 * * *"),
    ("0 0 ? * *", "0 0 * * *"),
    ("0 0 0 * * * *", "0 0 * * *"),
    ("0 0 * * 5L", "0 0 * * friL"),
    ("0 0 15w * *", "0 0 15W * *"),
    ("0 0 * * fri#2,fri#1", "0 0 * * 5#1,5#2"),
]
UNEQUAL = [
    ("0 8 * * *", "0 9 * * *"),
    ("0 0 L * *", "0 0 L-1 * *"),
    ("0 0 L * *", "0 0 LW * *"),
    ("0 0 15W * *", "0 0 15 * *"),
    ("0 0 * * 5L", "0 0 * * 5#4"),
    ("0 0 13 * 5", "0 0 */1,13 * 5"),  # either day, both days
    ("*/30 0-23 * * *", "0,30 0-23 * * *"),  # a wildcard, fixed times
    ("0 0 0 1 1 * 2030", "0 0 0 1 1 *"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_when_the_meaning_is_written_the_same(one: str, other: str) -> None:
    assert CronSchedule.parse(one) == CronSchedule.parse(other)
    assert hash(CronSchedule.parse(one)) == hash(CronSchedule.parse(other))


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_unequal(one: str, other: str) -> None:
    assert CronSchedule.parse(one) != CronSchedule.parse(other)


def test_the_options_are_part_of_the_value() -> None:
    plain = CronSchedule.parse("0 2 13 * 5", "Europe/Berlin")
    for options in ({"days": "both"}, {"gap": "skip"}, {"overlap": "both"}):
        assert CronSchedule.parse("0 2 13 * 5", "Europe/Berlin", **options) != plain
    assert CronSchedule.parse("0 2 13 * 5") != CronSchedule.parse("0 2 13 * 5", "UTC")
    assert plain == CronSchedule.parse("0 2 13 * 5", "Europe/Berlin", gap="after", days="either")
    assert plain != "0 2 13 * 5"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"timezone": "Asia/Calcutta"}, {"timezone": "Asia/Calcutta"}),  # an alias, as written
        ({"gap": "after", "overlap": "first", "days": "either"}, {}),
        ({"gap": "skip", "overlap": "both"}, {"gap": "skip", "overlap": "both"}),
        ({"days": "both"}, {"days": "both"}),
        ({"seed": "a"}, {"seed": "a"}),
    ],
)
def test_to_dict_has_what_is_not_the_default(
    options: dict[str, str], expected: dict[str, str]
) -> None:
    schedule = CronSchedule.parse(" H 2 13 * Fri ", **{"seed": "x", **options})
    assert schedule.to_dict() == {"cron": "H 2 13 * Fri", "seed": "x"} | expected
    spec = dict(schedule.to_dict())
    assert CronSchedule.parse(spec.pop("cron"), **spec) == schedule


def test_the_defaults_depend_on_the_expression() -> None:
    wildcard = CronSchedule.parse("*/5 2 * * *", gap="skip", overlap="both")
    assert wildcard.to_dict() == {"cron": "*/5 2 * * *"}
    assert CronSchedule.parse("*/5 2 * * *", gap="after").to_dict()["gap"] == "after"
    # the seconds do not make a wildcard
    assert CronSchedule.parse("* 0 2 * * *").parts.fixed_time


def test_pickles_copies_and_shows_itself() -> None:
    schedule = CronSchedule.parse("0 2 * * 1-5", "Europe/Berlin", gap="skip")
    schedule.next_after(datetime(2025, 1, 1, tzinfo=UTC))
    for twin in (
        pickle.loads(pickle.dumps(schedule)),
        copy.copy(schedule),
        copy.deepcopy(schedule),
        eval(repr(schedule)),
    ):
        assert twin == schedule
        assert hash(twin) == hash(schedule)
        assert twin.to_dict() == schedule.to_dict()
    assert repr(schedule) == (
        "CronSchedule.parse('0 2 * * 1-5', timezone='Europe/Berlin', gap='skip')"
    )


def test_the_parts_tell_what_was_written() -> None:
    written = ["*/10", "5,10-40/5", "22-2", "15W,L-3", "*", "fri#2,1", "2030"]
    parts = CronSchedule.parse(" ".join(written)).parts
    assert [f.text for f in parts.fields] == written
    assert (parts.has_seconds, parts.has_year, parts.fixed_time, parts.either_day) == (
        True,
        True,
        True,
        True,
    )
    assert [(i.kind, i.first, i.last, i.step) for i in parts.minute.items] == [
        ("value", 5, 5, 1),
        ("range", 10, 40, 5),
    ]
    assert [(i.kind, i.first, i.before) for i in parts.day.rules] == [
        ("nearest-weekday", 15, 0),
        ("last-day", 0, 3),
    ]
    assert [(i.kind, i.first, i.nth) for i in parts.weekday.rules] == [("nth-of-weekday", 5, 2)]


# Fuzzing

_ALPHABET = "0123456789*/-,?#LWHlwh() @abcdefjmnorstuy\t\n.+"


@given(
    st.text(_ALPHABET, max_size=40)
    | st.text(max_size=20)
    | st.lists(
        st.text("0123456789*/-,?#LWH()", min_size=1, max_size=6), min_size=5, max_size=7
    ).map(" ".join)
)
def test_any_text_parses_or_raises_invalid_schedule(text: str) -> None:
    try:
        schedule = CronSchedule.parse(text, "America/New_York", seed="s")
    except InvalidSchedule:
        return
    now = datetime(2025, 3, 8, tzinfo=UTC)
    slot = schedule.next_after(now)
    assert slot is None or slot > now
    assert CronSchedule.parse(**_keywords(schedule)) == schedule


def _keywords(schedule: CronSchedule) -> dict[str, str]:
    spec = schedule.to_dict()
    return {"expression": spec.pop("cron"), **spec}
