"""Every error that cronkit raises. One base class, a few children; each message names the datum
and the remedy."""


class CronkitError(Exception):
    """Base class of all errors of cronkit."""


class InvalidSchedule(CronkitError, ValueError):
    """A schedule, or the time zone or instant that it was asked about, that has no meaning.

    `spec` is what was given, `where` the place in it ("day-of-month", "BYDAY", "any[1]"), or "".
    """

    def __init__(self, message: str, *, spec: object = None, where: str = "") -> None:
        super().__init__(message)
        self.spec = spec
        self.where = where


class NaiveDatetime(CronkitError, ValueError):
    """A datetime without a time zone where an instant is needed."""

    def __init__(self, what: str, value: object) -> None:
        super().__init__(
            f"{what} {value!s} has no time zone: pass an aware datetime, "
            f"such as datetime(2027, 1, 1, 9, tzinfo=UTC)"
        )
