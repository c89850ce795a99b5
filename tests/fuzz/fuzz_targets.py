"""What is fed with bad input: from a text to "taken" or "refused", or an exception that nobody was
told of."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import FrameType
from typing import Any

import fuzz_words as words
from datasette.utils import StartupError

from cronkit_core import (
    InvalidSchedule,
    InvalidTask,
    NaiveDatetime,
    Schedule,
    lint,
    parse_crontab,
    parse_schedule,
)
from cronkit_core.changes import define, redefine, save
from cronkit_core.definition import check_name, decode
from cronkit_core.policy import plan
from cronkit_core.preview import preview, preview_task
from datasette_cron.config import read_config

TAKEN, REFUSED = "taken", "refused"
SECONDS = 2.0
"""Of the processor: how long an answer to one input may take."""

NOW = datetime(2027, 3, 27, 12, 30, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
YEAR = timedelta(days=366)
AFTER = (NOW, NOW + MOMENT, datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC))
SHOWN = 3


class TooLong(BaseException):
    """One input took more of the processor than it may. No `Exception`, so that nothing on the way
    makes an answer of it."""


@contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[None]:
    """Raises TooLong where what is done inside takes longer than `seconds` of the processor."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"over {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass(frozen=True)
class Target:
    """Something that takes text."""

    words: tuple[str, ...]
    seeds: tuple[str, ...]
    """Texts to begin with."""
    feed: Callable[[str], str]
    """Returns TAKEN or REFUSED; raises where neither is what happened."""


def ask(schedule: Schedule) -> None:
    """Ask a schedule whatever can be asked; its answers must agree."""
    for after in AFTER:
        first = schedule.next_after(after)
        coming = schedule.upcoming(after, SHOWN)
        assert coming[:1] == ([] if first is None else [first]), (schedule, after)
        assert coming == sorted(set(coming)), (schedule, after)
        if first is None:
            continue
        assert first > after, (schedule, after)
        assert first.utcoffset() == timedelta(0), (schedule, after)
        if first < datetime.max.replace(tzinfo=UTC):
            assert schedule.previous_before(first + MOMENT) == first, (schedule, after)
            assert schedule.count_between(after, first) == 1, (schedule, after)
    assert list(islice(schedule.between(NOW, NOW + YEAR), SHOWN)) == [
        slot for slot in schedule.upcoming(NOW, SHOWN) if slot <= NOW + YEAR
    ]
    assert schedule.count_between(NOW, NOW + timedelta(days=1)) >= 0
    preview(schedule, NOW, SHOWN)
    lint(schedule, after=NOW)
    assert schedule.describe()
    assert repr(schedule)
    again = parse_schedule(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule, schedule.to_dict()
    assert hash(again) == hash(schedule), schedule.to_dict()
    assert again.describe() == schedule.describe(), schedule.to_dict()


def _schedule(spec: object, zone: str | None = "Europe/Berlin") -> str:
    try:
        schedule = parse_schedule(spec, zone, anchor=NOW, seed="a task")
    except InvalidSchedule as error:
        return refused(error)
    ask(schedule)
    return TAKEN


def refused(error: Exception) -> str:
    """A refusal says something, and does not go on for ever."""
    message = str(error)
    assert message.strip(), error
    # A list of mistakes has a line for each.
    assert max(map(len, message.split("\n"))) < 1_500, message[:2_000]
    return REFUSED


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(text: str) -> str:
    return _schedule(text)


def _rrule(text: str) -> str:
    return _schedule({"rrule": text})


def _calendar(text: str) -> str:
    return _schedule({"calendar": text}, None)


def _spec(text: str) -> str:
    return _schedule(_loads(text), None)


def _crontab(text: str) -> str:
    answers = set()
    for system in (False, True):
        try:
            entries = parse_crontab(text, system=system)
        except InvalidSchedule as error:
            answers.add(refused(error))
            continue
        for entry in entries[:5]:
            assert entry.config
            if entry.schedule is not None:
                ask(entry.schedule)
        answers.add(TAKEN)
    return min(answers, default=TAKEN)


def _definition(text: str) -> str:
    """A task as `add_task` takes it, and as `update_task` changes it."""
    wish = _loads(text)
    if not isinstance(wish, dict):
        wish = {"config": wish}
    wish = {"name": "t", "handler": "h", "schedule": 60, **wish}
    try:
        definition = define(NOW, **wish)
        write = save(None, definition, NOW, keep_earlier=True)
    except (InvalidTask, InvalidSchedule, NaiveDatetime) as error:
        return refused(error)
    assert write is not None
    record = write.record
    record.config.encode()
    task = decode(record)
    assert task.schedule is not None
    assert save(record, definition, NOW, keep_earlier=True) is None, "the same wish is no change"
    later = NOW + timedelta(days=1)
    plan(task, (), later)
    preview_task(task, SHOWN)
    assert task.schedule.describe()
    change = {key: value for key, value in wish.items() if key != "name"}
    save(record, redefine(record, change), later, keep_earlier=False)
    return TAKEN


class _Datasette:
    """As much of a Datasette as the configuration is read from."""

    def __init__(self, section: object) -> None:
        self.section = section

    def plugin_config(self, name: str) -> object:
        return self.section


def _config(text: str) -> str:
    try:
        read_config(_Datasette(_loads(text)), NOW)  # type: ignore[arg-type]
    except StartupError as error:
        return refused(error)
    return TAKEN


def _name(text: str) -> str:
    try:
        name = check_name(text)
    except InvalidTask as error:
        return refused(error)
    assert name == text
    name.encode()
    return TAKEN


RULES = (
    "FREQ=WEEKLY;BYDAY=MO",
    "FREQ=MONTHLY;BYDAY=-1FR;COUNT=1000000000",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
    "FREQ=SECONDLY;INTERVAL=31;UNTIL=99991231T235959Z",
    "FREQ=YEARLY;BYWEEKNO=53;BYDAY=MO,SU;BYSETPOS=-1",
    "DTSTART;TZID=Europe/Berlin:19970902T090000\nRRULE:FREQ=DAILY;COUNT=9\nEXDATE:20270328",
    "RRULE:FREQ=MONTHLY;RSCALE=GREGORIAN;SKIP=FORWARD;BYMONTHDAY=31",
)
SPECS = (
    '{"cron":"*/5 8 * * 1","timezone":"Europe/Berlin","gap":"skip"}',
    '{"interval":90,"anchor":"2027-10-31T02:30:00Z"}',
    '{"at":"2027-03-28T02:30","timezone":"Europe/Berlin"}',
    '{"any":["@daily",{"rrule":"FREQ=WEEKLY;BYDAY=MO"}]}',
    '{"schedule":"*/5 * * * *","except":["@daily","2027-12-25"],"start_at":"2027-03-28T02:30"}',
    '{"calendar":"Mon..Fri 09:00"}',
    '"0 0 30 2 *"',
)
TASKS = (
    '{"name":"t","schedule":60,"config":{"at":[1,null,true]},"retry":{"max_retries":3}}',
    '{"schedule":"@daily","catch_up":"latest","overlap":"queue","grace":60,"jitter":5}',
    '{"schedule":{"rrule":"FREQ=DAILY;COUNT=9"},"timezone":"Europe/Berlin","max_runs":3}',
    '{"start_at":"2027-03-28T02:30","end_at":"9999-12-31T23:59:59","priority":-1}',
)

SPEC_WORDS = (
    *(*words.COMMON, *words.KEYS, *words.JSON, *words.HUGE, *words.MOMENTS, *words.ZONES),
    *(
        *words.MACROS[:4],
        "FREQ=DAILY;COUNT=9",
        "FREQ=WEEKLY;BYDAY=MO",
        "2027-12-25",
        "Mon..Fri 09:00",
    ),
)

TARGETS: dict[str, Target] = {
    "schedule": Target(
        words.vocabulary(words.COMMON, words.CRON, words.HUGE, words.RULE[:12], words.MACROS),
        (
            *("*/5 * * * *", "0 8 * * MON-fri", "0 0 30 2 *", "H H(0-29) * * *", "@every 1h30m"),
            *("0 0 12 LW * 5#2 1970-2099", "90s", "PT15M", "@daily", "30 2 28 3 *"),
        ),
        _text,
    ),
    "rrule": Target(
        words.vocabulary(words.COMMON, words.RULE, words.HUGE, words.ZONES), RULES, _rrule
    ),
    "calendar": Target(
        words.vocabulary(words.COMMON, words.CALENDAR, words.ZONES, words.HUGE),
        ("Mon..Fri 09:00", "*-02~01 0/2:00:00", "quarterly", "2027-12-31 23:59:59 Europe/Berlin"),
        _calendar,
    ),
    "crontab": Target(
        words.vocabulary(words.COMMON, words.CRONTAB, words.CRON, words.ZONES),
        (
            "SHELL = '/bin/sh'\n*/5 * * * * root echo %a\\%b\n# \n@daily echo %a",
            "CRON_TZ=Europe/Berlin\n0 0 30 2 * root a",
        ),
        _crontab,
    ),
    "spec": Target(words.vocabulary(SPEC_WORDS), SPECS, _spec),
    "definition": Target(
        words.vocabulary(SPEC_WORDS, words.OPTIONS), (*TASKS, *SPECS), _definition
    ),
    "config": Target(
        words.vocabulary(SPEC_WORDS, words.OPTIONS, words.SETTINGS),
        (
            '{"scheduler":"on","poll":1,"groups":{"t":3},"http_allow":["https://t"]}',
            '{"tasks":{"t":{"handler":"h","schedule":"@daily","timezone":"Europe/Berlin"}}}',
            '{"tasks":{"a":{"handler":"h","schedule":60,"retry":{"max_retries":3},"on":1}}}',
        ),
        _config,
    ),
    "name": Target(words.vocabulary(words.COMMON, words.ZONES, ("~", "%2F")), ("a b", "é"), _name),
}
"""Whatever takes text and needs no server, by name."""
