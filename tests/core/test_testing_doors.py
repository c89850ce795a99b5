"""What the testing kit says to those who hold it the wrong way round, and what its unions draw."""

from datetime import UTC, datetime

import pytest
from hypothesis import Phase, find, given, settings

from cronkit_core import NaiveDatetime, Scheduler, parse_schedule
from cronkit_core.testing import VirtualClock, cron_expressions, run_until, unions

LATER = datetime(2027, 1, 1, 3, tzinfo=UTC)


async def test_run_until_takes_schedulers_and_an_instant() -> None:
    scheduler = Scheduler(clock=VirtualClock())
    for arguments in ((LATER, scheduler), (scheduler, 60), ([], LATER), ([scheduler, 1], LATER)):
        with pytest.raises(TypeError, match="takes a scheduler, or some, and the instant"):
            await run_until(*arguments)
    with pytest.raises(NaiveDatetime, match="instant"):
        await run_until(scheduler, LATER.replace(tzinfo=None))


async def test_run_until_needs_the_virtual_clock() -> None:
    with pytest.raises(TypeError, match="needs a VirtualClock, not SystemClock"):
        await run_until(Scheduler(), LATER)


@given(unions())
def test_unions_are_valid(spec: dict[str, object]) -> None:
    schedule = parse_schedule(spec, "UTC")
    assert parse_schedule(schedule.to_dict()) == schedule


def test_unions_shrink_to_the_plain() -> None:
    # and no search for what else could have been drawn, which takes longer than all else
    shrunk = settings(phases=[Phase.generate, Phase.shrink])
    least = find(unions(), lambda spec: True, settings=shrunk)
    assert least in ({"any": ["* * * * *"]}, {"any": [30]})
    two = find(unions(cron_expressions()), lambda spec: len(spec["any"]) == 2, settings=shrunk)
    assert two == {"any": ["* * * * *", "* * * * *"]}
