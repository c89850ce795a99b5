"""When to try again: the arithmetic of backoff, and every reason to give up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cronkit_core.retry import MAX_DELAY, RetryPolicy, delay, next_attempt, spread

SLOT = datetime(2027, 1, 1, tzinfo=UTC)


def seconds(policy: RetryPolicy, attempt: int = 1, **options: Any) -> float | None:
    """How long after the end of `attempt` the next one starts."""
    options = {"scheduled_for": SLOT, "now": SLOT, **options}
    at = next_attempt(policy, task="task", slot=SLOT, attempt=attempt, **options)
    return None if at is None else (at - options["now"]).total_seconds()


DELAYS = [
    # (policy, delays after attempts 1, 2, 3, ...)
    ({}, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
    ({"backoff": "exponential", "base": 10}, [20, 40, 80, 160, 300, 300]),
    ({"backoff": "exponential", "base": 10, "max_delay": 50}, [20, 40, 50, 50]),
    ({"backoff": "exponential", "base": 10, "max_delay": 1e6}, [20, 40, 80, 160, 320, 640]),
    ({"backoff": "exponential", "base": 0}, [0, 0, 0]),
    ({"backoff": "linear"}, [30, 60, 90, 120]),
    ({"backoff": "linear", "base": 1.5}, [1.5, 3, 4.5]),
    ({"backoff": "linear", "max_delay": 70}, [30, 60, 70, 70]),
    ({"backoff": "constant"}, [30, 30, 30]),
    ({"backoff": "constant", "base": 5}, [5, 5, 5]),
    ({"backoff": "constant", "base": 5, "max_delay": 1}, [1, 1, 1]),
]


@pytest.mark.parametrize(("options", "expected"), DELAYS)
def test_delays(options: dict, expected: list[float]) -> None:
    policy = RetryPolicy(max_retries=1000, jitter=0, **options)
    assert [seconds(policy, n) for n in range(1, len(expected) + 1)] == expected


def test_as_many_retries_as_the_policy_allows() -> None:
    policy = RetryPolicy(max_retries=3, jitter=0)
    assert [seconds(policy, n) for n in range(1, 6)] == [2, 4, 8, None, None]
    assert seconds(RetryPolicy()) is None


def test_jitter_is_a_hash_and_stays_in_its_share() -> None:
    policy = RetryPolicy(max_retries=1000, backoff="constant", base=100, jitter=0.2)
    found = [delay(policy, f"task {i}", SLOT, 1) for i in range(500)]
    assert found == [delay(policy, f"task {i}", SLOT, 1) for i in range(500)]
    assert 80 <= min(found) < 84
    assert 116 < max(found) <= 120
    assert 97 < sum(found) / 500 < 103
    # It depends on the task, the slot and the attempt.
    later = SLOT + timedelta(seconds=1)
    keys = [("a", SLOT, 1), ("b", SLOT, 1), ("a", later, 1), ("a", SLOT, 2)]
    assert len({delay(policy, *key) for key in keys}) == 4


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert spread("a", "b") == 0.9699142814205318
    assert spread("a", "bc") != spread("ab", "c")


ON = [
    # (on, names of the exception and its bases, is it retried)
    ((), ("ValueError", "Exception"), True),
    (("ValueError",), ("ValueError", "Exception"), True),
    (("Exception",), ("ValueError", "Exception"), True),
    (("OSError", "ValueError"), ("ValueError", "Exception"), True),
    (("OSError",), ("ValueError", "Exception"), False),
    (("TimeoutError",), ("TimeoutError", "OSError", "Exception"), True),
    # What no exception ended, a lost or interrupted run, is retried in any case.
    (("OSError",), (), True),
]


@pytest.mark.parametrize(("on", "names", "retried"), ON)
def test_on_names_exceptions(on: tuple, names: tuple, retried: bool) -> None:
    policy = RetryPolicy(max_retries=1, on=on, jitter=0)
    assert (seconds(policy, error_types=names) is not None) == retried


def test_the_handlers_own_wish() -> None:
    policy = RetryPolicy(max_retries=2, on=("OSError",), jitter=0.2)
    # It replaces the backoff, is not spread, and needs no name in `on`...
    assert seconds(policy, after=7.5, error_types=("Retry", "Exception")) == 7.5
    assert seconds(policy, after=0) == 0
    # ...but it counts.
    assert seconds(policy, 3, after=7.5) is None
    assert seconds(RetryPolicy(), after=7.5) is None


def test_give_up_after_counts_from_when_the_slot_was_due() -> None:
    policy = RetryPolicy(max_retries=9, backoff="constant", base=10, jitter=0, give_up_after=60)
    due = SLOT + timedelta(seconds=100)
    for ended, expected in ((0, 10), (49, 10), (50, 10), (50.000001, None), (1000, None)):
        now = due + timedelta(seconds=ended)
        assert seconds(policy, scheduled_for=due, now=now) == expected
    assert seconds(policy, after=61) is None


@given(
    backoff=st.sampled_from(["exponential", "linear", "constant"]),
    base=st.none() | st.floats(0, MAX_DELAY),
    limit=st.none() | st.floats(0, MAX_DELAY),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 1000),
    after=st.none() | st.floats(0, allow_nan=False, allow_infinity=False),
)
def test_no_wish_is_too_great_for_a_calendar(
    backoff: Any,
    base: float | None,
    limit: float | None,
    jitter: float,
    attempt: int,
    after: float | None,
) -> None:
    policy = RetryPolicy(1000, backoff, base, limit, jitter)
    found = seconds(policy, attempt, after=after)
    assert found is not None
    assert 0 <= found <= MAX_DELAY
