"""When to try again. Pure: (policy, attempt, failure, now) -> an instant, or None to give up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Literal, get_args

Backoff = Literal["exponential", "linear", "constant"]
BACKOFFS: tuple[Backoff, ...] = get_args(Backoff)

MAX_EXPONENTIAL_DELAY = 300.0
MAX_DELAY = 10 * 365 * 86400.0
BASES: dict[Backoff, float] = {"exponential": 1.0, "linear": 30.0, "constant": 30.0}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how long, a failed slot is tried again. All times are seconds.

    The delay after attempt n is `base * 2**n` (exponential), `base * n` (linear) or `base`
    (constant), at most `max_delay`, spread by `jitter` (0.2 means up to 20 % more or less).
    """

    max_retries: int = 0
    backoff: Backoff = "exponential"
    base: float | None = None
    """None means 1 s for exponential, 30 s for linear and constant."""
    max_delay: float | None = None
    """None means 300 s for exponential, and no bound for linear and constant."""
    jitter: float = 0.2
    on: tuple[str, ...] = ()
    """Names of exception types that are worth a retry, bare ("ConnectError") or whole
    ("httpx.ConnectError"); a base class counts for its children, an exception group for what is in
    it, and a time-out is a TimeoutError. Empty: all. A lost or interrupted run is retried in any
    case."""
    give_up_after: float | None = None
    """No attempt starts later than this after the slot was due."""


def spread(*key: object) -> float:
    """A number in [0, 1) that depends on `key` alone, the same on every machine."""
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def delay(policy: RetryPolicy, task: str, slot: datetime, attempt: int) -> float:
    """Seconds between the end of `attempt` (the first is 1) and the next one."""
    base = BASES[policy.backoff] if policy.base is None else policy.base
    limit = policy.max_delay
    if policy.backoff == "exponential":
        # The exponent is bounded so that the product stays a finite number.
        seconds = base * 2.0 ** min(attempt, 64)
        limit = MAX_EXPONENTIAL_DELAY if limit is None else limit
    else:
        seconds = base * attempt if policy.backoff == "linear" else base
    if limit is not None:
        seconds = min(seconds, limit)
    return seconds * (1 + policy.jitter * (2 * spread(task, slot.isoformat(), attempt) - 1))


def next_attempt(
    policy: RetryPolicy,
    *,
    task: str,
    slot: datetime,
    attempt: int,
    scheduled_for: datetime,
    now: datetime,
    error_types: tuple[str, ...] = (),
    after: float | None = None,
) -> datetime | None:
    """When to start attempt `attempt + 1` of a slot whose `attempt` failed at `now`; None: give up.

    `error_types` are the names of the exception's class and its bases; empty when no exception
    ended the attempt. `after`, in seconds, is the handler's own wish
    (`raise Retry(after=...)`): it replaces the backoff, and counts as a retry like any other. No
    delay is longer than ten years.
    """
    if attempt > policy.max_retries:
        return None
    if policy.on and error_types and after is None and not set(policy.on) & set(error_types):
        return None
    seconds = delay(policy, task, slot, attempt) if after is None else after
    at = now + timedelta(seconds=min(seconds, MAX_DELAY))
    if policy.give_up_after is not None:
        deadline = scheduled_for + timedelta(seconds=policy.give_up_after)
        if at > deadline:
            return None
    return at
