"""Every error that cronkit raises. One base class, a few children; each message names the datum
and the remedy."""

from collections.abc import Iterable


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


class InvalidTask(CronkitError, ValueError):
    """A task definition, or an argument of an operation on tasks, that has no meaning."""


class TaskNotFound(CronkitError, ValueError, LookupError):
    """No task has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Task not found: {name}")
        self.name = name


class HandlerNotFound(CronkitError, ValueError, LookupError):
    """No handler is registered under that name."""

    def __init__(self, handler: str, known: Iterable[str] = ()) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"Handler not found: {handler} (registered: {names})")
        self.handler = handler


class RunNotFound(CronkitError, ValueError, LookupError):
    """No run has that id; it may have been pruned."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"Run not found: {run_id}")
        self.run_id = run_id


class TaskActive(CronkitError, ValueError):
    """A trigger that the task's overlap policy refuses, since the task is active."""

    def __init__(self, name: str, run_id: int) -> None:
        super().__init__(
            f"task {name!r} is active (run {run_id}) and its overlap policy is 'skip': "
            f"wait for it, or trigger with force=True"
        )
        self.name = name
        self.run_id = run_id


class StorageError(CronkitError):
    """The storage could not do what it was asked; whether it was done may be unknown."""


class StorageTooNew(StorageError):
    """The storage was written by a newer version of cronkit; it was left unchanged."""

    def __init__(self, where: str, found: int, known: int) -> None:
        super().__init__(
            f"{where} has schema version {found}, and this version of cronkit knows up to {known}: "
            f"upgrade cronkit, or use another storage"
        )


class Conflict(StorageError):
    """The same tasks were changed by others again and again while this change was under way."""
