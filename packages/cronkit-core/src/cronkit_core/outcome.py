"""How an attempt ended, before anything is recorded of it."""

from __future__ import annotations

from .runs import Reason
from .values import value


@value(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. Without a `reason`, well."""

    output: str | None = None
    reason: Reason | None = None
    message: str = ""
    error_type: str | None = None
    error_types: tuple[str, ...] = ()
    """Names of the exception's class and its bases."""
    traceback: str | None = None
    retry_after: float | None = None
    """The seconds that the handler asked for."""
    final: bool = False
    """The handler said that another try would not help."""


INTERRUPTED = Outcome(reason=Reason.INTERRUPTED, message="interrupted: the scheduler was stopped")
LEASE_LOST = Outcome(reason=Reason.LOST, message="lost: the lease has passed to another process")
LOST = Outcome(reason=Reason.LOST, message="lost: the process that ran this is gone")
FROM_WITHIN = Outcome(
    reason=Reason.EXCEPTION,
    message="the handler was cancelled from within",
    error_type="CancelledError",
    error_types=("CancelledError", "asyncio.exceptions.CancelledError"),
)


def timed_out(seconds: float) -> Outcome:
    """The attempt took longer than its task allows."""
    return Outcome(
        reason=Reason.TIMEOUT,
        message=f"timed out after {seconds:g} s",
        error_type="TimeoutError",
        error_types=_TIMEOUT_TYPES,
    )


def cancelled(by: str) -> Outcome:
    """Somebody wanted it to end."""
    return Outcome(reason=Reason.CANCELLED, message=f"cancelled by {by}")


_TIMEOUT_TYPES = tuple(c.__name__ for c in TimeoutError.__mro__)
