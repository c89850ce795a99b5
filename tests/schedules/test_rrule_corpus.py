"""900 rules with what libical names for them, resolved as RFC 5545 section 3.3.5 says; dateutil
agrees with each. Two wall times that mean one instant are listed twice there, and are one slot
here.

Sub-daily rules differ where a rule's wall time is shown twice or not at all: libical takes the
first pass and moves the others, we take both passes and make nothing up. Those wall times, and no
others, are left out on both sides; and since COUNT then is spent on others, lines with COUNT that
have such a wall time are compared as far as both go.
"""

import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from zone_data import skip_if_changed

from cronkit_core.schedules._local import instants, load_zone
from cronkit_core.schedules.rrule import RRuleSchedule

DATA = Path(__file__).parent / "data" / "rrule_oracle.jsonl"
LINES = [json.loads(line) for line in DATA.read_text().splitlines()]
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


def expected(line: dict[str, Any]) -> list[datetime]:
    return sorted({datetime.fromisoformat(text) for text in line["expect"]})


def is_clear(wall: datetime, line: dict[str, Any]) -> bool:
    """Whether the clock shows `wall` once."""
    return len(instants(wall, load_zone(line["tz"]))) == 1


def disputed(line: dict[str, Any]) -> bool:
    if "sub-daily" not in line.get("tags", ()):
        return False
    return not all(is_clear(datetime.fromisoformat(text), line) for text in line["local"])


AGREED = [line for line in LINES if not disputed(line)]
DISPUTED = [line for line in LINES if disputed(line)]


def test_the_corpus_is_whole() -> None:
    assert len(LINES) == 900
    assert len(DISPUTED) < 120


@pytest.mark.parametrize("line", AGREED, ids=[line["id"] for line in AGREED])
def test_agrees(line: dict[str, Any]) -> None:
    schedule = RRuleSchedule.parse(line["text"])
    slots = expected(line)
    skip_if_changed(line["tz"], slots[-1])
    more = 1 if line["complete"] else 0

    assert list(islice(schedule.between(FIRST, LAST), len(slots) + more)) == slots

    after = FIRST
    for slot in slots:
        assert schedule.next_after(after) == slot
        after = slot
    before = slots[-1]
    for slot in reversed(slots[:-1]):
        assert schedule.previous_before(before) == slot
        before = slot
    assert schedule.previous_before(before) is None
    assert schedule.count_between(FIRST, slots[-1]) == len(slots)
    if line["complete"]:
        assert schedule.next_after(slots[-1]) is None
        assert schedule.previous_before(LAST) == slots[-1]


@pytest.mark.parametrize("line", DISPUTED, ids=[line["id"] for line in DISPUTED])
def test_agrees_outside_of_disputed_wall_times(line: dict[str, Any]) -> None:
    zone = load_zone(line["tz"])

    def undisputed(slot: datetime) -> bool:
        return is_clear(slot.astimezone(zone).replace(tzinfo=None), line)

    named = {
        datetime.fromisoformat(slot)
        for slot, wall in zip(line["expect"], line["local"], strict=True)
        if is_clear(datetime.fromisoformat(wall), line)
    }
    theirs = sorted(named)
    schedule = RRuleSchedule.parse(line["text"])
    if "COUNT" not in line["rrule"]:
        end = theirs[-1] if theirs else FIRST
        assert [slot for slot in schedule.between(FIRST, end) if undisputed(slot)] == theirs
        return
    slots = list(schedule.between(FIRST, LAST))
    assert len(slots) == int(line["rrule"].partition("COUNT=")[2].partition(";")[0])
    ours = [slot for slot in slots if undisputed(slot)]
    common = min(len(ours), len(theirs))
    assert ours[:common] == theirs[:common]
