"""The short form of `just fuzz`: the same targets, fed by Hypothesis with the same inputs each
time, and with what is very long or very deep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_words as words
import pytest
from fuzz_site import Site, site_target
from fuzz_targets import REFUSED, TAKEN, TARGETS, Target, TooLong, bounded, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from cronkit_core import InvalidSchedule

LONGEST = 40
"""Words of an input."""


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with site_target(tmp_path_factory.mktemp("site")) as target:
        yield target


def texts(target: Target) -> st.SearchStrategy[str]:
    """A text to begin with, some words of which are replaced, cut out, or put in."""
    some = st.lists(st.sampled_from(target.words), max_size=3).map("".join)

    @st.composite
    def changed(draw: st.DrawFn) -> str:
        data = words.encode(draw(st.sampled_from(target.seeds)), target.words)
        parts = [words.decode(bytes([byte]), target.words) for byte in data]
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(parts)))
            parts[at : at + draw(st.integers(0, 2))] = [draw(some)]
        return "".join(parts)

    free = st.lists(st.sampled_from(target.words), max_size=LONGEST).map("".join)
    return st.one_of(changed(), changed(), free)


def feed(target: Target, text: str) -> str:
    with bounded():
        return target.feed(text)


@pytest.mark.parametrize("name", list(TARGETS))
def test_bad_input_is_refused_and_good_input_taken(name: str) -> None:
    target = TARGETS[name]
    assert TAKEN in {feed(target, seed) for seed in target.seeds}
    answers = set()

    @settings(max_examples=max(settings.default.max_examples, 150))
    @given(texts(target))
    def holds(text: str) -> None:
        answers.add(feed(target, text))

    holds()
    assert answers == {TAKEN, REFUSED}


def test_requests_get_an_answer_and_refusals_store_nothing(rest: Target) -> None:
    assert [feed(rest, seed) for seed in rest.seeds].count(TAKEN) > len(rest.seeds) / 2

    @given(texts(rest))
    def holds(text: str) -> None:
        feed(rest, text)

    holds()


# --- very long, very deep, and much from little ----------------------------------------------

MEGABYTE = 1_000_000
LONG = [
    *("*" * MEGABYTE, "1," * (MEGABYTE // 2), " " * MEGABYTE, "9" * MEGABYTE, "@" * MEGABYTE),
    *("* " * (MEGABYTE // 2), "\n" * MEGABYTE, ";" * MEGABYTE, "P" + "1D" * (MEGABYTE // 2)),
    *('"' * MEGABYTE, "[" * MEGABYTE, '{"any":[' * 100_000, "\\" * MEGABYTE, "~" * MEGABYTE),
    *("9" * 60_000, "9" * 60_000 + "s", "PT" + "9" * 60_000 + "M", "* * * * " + "9" * 60_000),
    *("1s" * 30_000, "1h" + "x" * 60_000, f"[{'9' * 5_000}]", "x" * 60_000, "1e" + "9" * 5_000),
    *("FREQ=" + "9" * 60_000, "FREQ=DAILY;COUNT=" + "9" * 60_000, "DTSTART:" + "1" * 60_000),
    "FREQ=DAILY;" + "BYHOUR=1;" * 100_000,
    "FREQ=YEARLY;BYDAY=" + ",".join(["MO"] * 20_000),
    "DTSTART:19970902T090000\n" + "RRULE:FREQ=DAILY\n" * 50_000,
    json.dumps({"any": ["@daily"] * 100_000}),
    json.dumps({"schedule": "@daily", "except": ["2027-12-25"] * 100_000}),
    json.dumps({"config": {"a" * MEGABYTE: "a" * MEGABYTE}}),
    json.dumps({"tasks": {str(n): {} for n in range(20_000)}}),
]


@pytest.mark.parametrize("name", list(TARGETS))
def test_what_is_very_long_has_a_quick_answer(name: str) -> None:
    for text in LONG:
        feed(TARGETS[name], text)


def test_a_request_that_is_very_long_has_a_quick_answer(rest: Target) -> None:
    for text in LONG:
        feed(rest, f"POST /-/api/cron/tasks\n{text}")
        feed(rest, f"POST /-/api/cron/preview\n{text}")
        feed(rest, f"GET /-/api/cron/tasks/{text[:8_000]}")


EXPLOSIONS = [
    "FREQ=SECONDLY;COUNT=1000000000",
    "FREQ=YEARLY;INTERVAL=9999;COUNT=1000000000",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1000000000",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;BYHOUR=2;BYMINUTE=30;COUNT=1000000",
    "FREQ=SECONDLY;UNTIL=99991231T235959Z",
    "FREQ=SECONDLY;INTERVAL=2147483647;UNTIL=99991231T235959Z",
    "FREQ=SECONDLY;INTERVAL=86399;BYHOUR=2;BYMINUTE=30;BYSECOND=7;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=MINUTELY;INTERVAL=1441;BYHOUR=3;BYMINUTE=1;BYDAY=MO;BYMONTHDAY=13",
    "FREQ=HOURLY;INTERVAL=9973;BYDAY=FR;BYMONTHDAY=13;BYHOUR=3",
    "FREQ=DAILY;INTERVAL=4001;BYMONTH=2;BYMONTHDAY=29;BYDAY=TU",
    "FREQ=WEEKLY;INTERVAL=999;BYMONTH=2;BYDAY=SU;BYHOUR=1,2,3;BYSETPOS=3",
    "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU;BYSETPOS=366",
    "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR={hours};BYMINUTE={all};BYSECOND={all}",
    "FREQ=YEARLY;BYHOUR={hours};BYMINUTE={all};BYSECOND={all};BYSETPOS=-366,366,1",
    "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2,4,6,9,11;RSCALE=GREGORIAN;SKIP=OMIT",
    "FREQ=MONTHLY;INTERVAL=12;BYMONTH=1;BYMONTHDAY=31;COUNT=1000000000",
]
BEGINNINGS = ["", "DTSTART:00010101T000000\n", "DTSTART;TZID=Australia/Lord_Howe:99990101T000000\n"]


@pytest.mark.parametrize("rule", EXPLOSIONS)
def test_a_rule_that_explodes_has_a_quick_answer(rule: str) -> None:
    every = ",".join(map(str, range(60)))
    text = rule.format(hours=",".join(map(str, range(24))), all=every)
    for beginning in BEGINNINGS:
        feed(TARGETS["rrule"], f"{beginning}RRULE:{text}")


# --- the tests themselves --------------------------------------------------------------------


def hang() -> None:
    while True:
        pass


def test_a_hang_is_noticed() -> None:
    with pytest.raises(TooLong), bounded(0.05):
        hang()


@pytest.mark.parametrize("message", [" ", "x" * 10_000])
def test_a_bad_refusal_is_noticed(message: str) -> None:
    with pytest.raises(AssertionError):
        refused(InvalidSchedule(message))


def test_a_server_error_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*arguments: Any) -> Any:
        raise ZeroDivisionError

    with Site(tmp_path) as site:
        monkeypatch.setattr(site.datasette._cron_scheduler, "status", fails)
        with pytest.raises(AssertionError, match="500"):
            site.feed("GET /-/api/cron/status")


def test_a_refusal_that_stores_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Site(tmp_path) as site:
        scheduler = site.datasette._cron_scheduler
        create = scheduler.create_task

        async def stores_and_refuses(*arguments: Any, **options: Any) -> Any:
            await create(*arguments, **options)
            raise InvalidSchedule("no")

        monkeypatch.setattr(scheduler, "create_task", stores_and_refuses)
        with pytest.raises(AssertionError, match="400"):
            site.feed('POST /-/api/cron/tasks\n{"name":"t","handler":"test:ok","schedule":60}')


@pytest.mark.parametrize("name", list(TARGETS))
def test_words_and_bytes(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        assert words.decode(words.encode(seed, target.words), target.words) == seed
    assert len(words.decode(b"\1" + bytes([words.LONG]), target.words)) <= words.LONGEST
