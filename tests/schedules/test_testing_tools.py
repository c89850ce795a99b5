"""The strategies and the oracles that users test with: what they draw is as promised and shrinks to
the plain, they stand on their own, and the oracles answer what independent references answer."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from zone_data import skip_if_changed

from cronkit_core.schedules import parse_schedule
from cronkit_core.testing import (
    CRON_FEATURES,
    cron_expressions,
    instants,
    instants_near_transitions,
    interesting_zones,
    intervals,
    reference_slots,
    rrules,
    schedules,
    timezones,
    transitions,
)

DATA = Path(__file__).parent / "data"
SHRUNK = settings(phases=[Phase.generate, Phase.shrink], max_examples=1000, database=None)
DRAWN = settings(phases=[Phase.generate], max_examples=1000)
FEW = settings(max_examples=settings().max_examples // 3)


# The oracles


def corpus(name: str, every: int) -> list[dict]:
    lines = (DATA / name).read_text().splitlines()
    return [json.loads(line) for line in lines[::every]]


@pytest.mark.parametrize(
    "line", corpus("cron_debian_oracle.jsonl", 15), ids=lambda line: line["id"]
)
def test_the_cron_oracle_answers_what_debians_cron_answers(line) -> None:
    after = datetime.fromisoformat(line["after"])
    expected = [datetime.fromisoformat(slot) for slot in line["expect"]]
    skip_if_changed(line["tz"], expected[-1])
    slots = reference_slots(line["expr"], line["tz"], after, expected[-1])
    assert list(islice(slots, 7)) == expected


def by_our_convention(line: dict) -> bool:
    """Not a sub-daily rule in hours in which the clock changes."""
    tags = line.get("tags", [])
    return "sub-daily" not in tags or not {"dst-gap", "dst-overlap"} & set(tags)


@pytest.mark.parametrize(
    "line",
    [line for line in corpus("rrule_oracle.jsonl", 12) if by_our_convention(line)],
    ids=lambda line: line["id"],
)
def test_the_rrule_oracle_answers_what_libical_answers(line) -> None:
    start = datetime.fromisoformat(line["dtstart"]).replace(tzinfo=ZoneInfo(line["tz"]))
    after = datetime.fromisoformat(line["after"] or (start - timedelta(seconds=1)).isoformat())
    expected = sorted({datetime.fromisoformat(slot) for slot in line["expect"]})
    skip_if_changed(line["tz"], expected[-1])
    assert list(reference_slots(line["text"], None, after, expected[-1])) == expected


def test_the_oracles_share_no_code_with_the_engines_and_need_no_hypothesis() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, cronkit_core.testing.oracle; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "cronkit_core.testing.oracle" in loaded
    assert not [
        name for name in loaded if name.startswith(("cronkit_core.schedules", "hypothesis"))
    ]


# Zones


@pytest.mark.parametrize("zone", interesting_zones())
def test_transitions_are_where_the_offset_changes(zone) -> None:
    info = ZoneInfo(zone)
    for change in transitions(zone):
        just_before = change.instant - timedelta(seconds=1)
        assert just_before.astimezone(info).utcoffset() == change.before
        assert change.instant.astimezone(info).utcoffset() == change.after != change.before


def test_the_zones_between_them_have_every_sort_of_change() -> None:
    gaps = {change.gap for zone in interesting_zones() for change in transitions(zone)}
    half, hour = timedelta(minutes=30), timedelta(hours=1)
    assert {half, -half, hour, -hour, 2 * hour, -2 * hour, 3 * hour, 24 * hour} <= gaps
    assert transitions("UTC") == ()


# Strategies

WRITTEN = {
    "seconds": lambda text: len(text.split()) == 6,
    "years": lambda text: len(text.split()) == 7,
    "macros": lambda text: text.startswith("@"),
    "names": lambda text: re.search("[a-zA-Z]{3}", text) and "@" not in text,
    "lists": lambda text: "," in text,
    "steps": lambda text: "*/" in text,
    "open-steps": lambda text: re.search(r"(?<![-\d])\d+/", text),
    "ranges": lambda text: re.search(r"(?<![(\d])\d+-\d", text),
    "question": lambda text: "?" in text,
    "last": lambda text: "L" in text.split()[2:3] or "L-" in text,
    "weekday": lambda text: "W " in text,
    "nth": lambda text: "#" in text,
    "hash": lambda text: "H" in text,
}


@pytest.mark.parametrize("feature", sorted(WRITTEN))
def test_a_feature_of_cron_is_drawn_and_can_be_left_out(feature) -> None:
    uses = WRITTEN[feature]
    assert find(cron_expressions(CRON_FEATURES), lambda text: bool(uses(text)), settings=DRAWN)

    @FEW
    @given(cron_expressions(CRON_FEATURES - {feature}))
    def never(text):
        # A year stands behind the seconds.
        assert feature == "seconds" or not uses(text) or (feature == "names" and "L" in text)

    never()


def test_strategies_shrink_to_the_plain() -> None:
    def plainest(strategy, condition=lambda drawn: True):
        return find(strategy, condition, settings=SHRUNK)

    assert plainest(cron_expressions()) == "* * * * *"
    assert plainest(cron_expressions(), lambda text: "#" in text) == "* * * * 1#1"
    assert plainest(timezones()) == "UTC"
    assert plainest(rrules()) == "DTSTART:20000101T000000Z\nRRULE:FREQ=DAILY"
    assert plainest(instants()) == datetime(2000, 1, 1, tzinfo=UTC)


def test_an_unknown_feature_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown features \['sunday'\]: known are"):
        cron_expressions({"sunday", "names"})


@FEW
@given(timezones(), st.data())
def test_instants_near_transitions_are(zone, data) -> None:
    at = data.draw(instants_near_transitions(zone, within=timedelta(hours=2)))
    assert at.tzinfo is UTC
    near = [
        change for change in transitions(zone) if abs(change.instant - at) <= timedelta(hours=2)
    ]
    assert near or not transitions(zone)


@given(schedules(), timezones())
def test_every_spec_that_is_drawn_parses(spec, zone) -> None:
    parse_schedule(spec, zone)


@given(intervals(timedelta(seconds=5)))
def test_intervals_are_not_shorter_than_asked(spec) -> None:
    assert parse_schedule(spec).every >= timedelta(seconds=5)
