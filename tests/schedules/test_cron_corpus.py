"""What Debian's cron itself answered: its own parser and main loop on a simulated clock.

Each line of the data has `expr`, `tz`, `after` (exclusive) and `expect`, the next six slots in UTC.
"""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from zone_data import skip_if_changed

from cronkit_core.schedules.cron import CronSchedule

LINES: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "cron_debian_oracle.jsonl")
    .read_text()
    .splitlines()
]


def test_the_corpus_is_whole() -> None:
    assert len(LINES) == 900
    assert sum("dst-gap" in line.get("tags", ()) for line in LINES) > 200
    assert sum("dst-overlap" in line.get("tags", ()) for line in LINES) > 200


@pytest.mark.parametrize("line", LINES, ids=[line["id"] for line in LINES])
def test_answers_as_debian_cron_does(line: dict[str, Any]) -> None:
    schedule = CronSchedule.parse(line["expr"], line["tz"])
    after = datetime.fromisoformat(line["after"])
    expected = [datetime.fromisoformat(slot) for slot in line["expect"]]
    skip_if_changed(line["tz"], expected[-1])

    steps = []
    at: datetime | None = after
    for _ in expected:
        assert at is not None
        at = schedule.next_after(at)
        steps.append(at)
    assert steps == expected
    assert schedule.upcoming(after, len(expected)) == expected
    assert list(schedule.between(after, expected[-1])) == expected
    assert schedule.count_between(after, expected[-1]) == len(expected)
    for earlier, later in pairwise(expected):
        assert schedule.previous_before(later) == earlier
    assert all(slot is not None and slot.tzinfo is UTC for slot in steps)
