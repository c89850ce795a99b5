"""What a storage promises. The docstrings here are the contract, and
`cronkit_core.testing.StorageContract` holds every backend to it.

A storage keeps three tables: tasks, runs, and skips (ranges of slots that did not run). It decides
nothing: what is due is read and handed to a pure `plan`, and what that returns is written, all in
one transaction.

Each method that writes is one transaction: it happens whole or not at all. When one raises, it is
unknown whether it happened; every one may be called again with the same arguments without doing
harm. All instants are aware UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from ..definition import check_integer
from ..errors import InvalidTask
from ..runs import Finish, LiveRun, NewRun, Run, Skip, Status
from ..schedules.base import instant
from ..tasks import TaskRecord
from ..values import value

# Who or what ended a run or paused a task, where no person did.
OVERLAP = "a newer slot of the task"
REMOVED = "removal of the task"
DISABLED = "disabling of the task"
PAUSED_BY_FAILURES = "pause_after_failures"


@value(frozen=True, slots=True)
class DueTask:
    """A task whose next slot has come, with its runs that have not ended, oldest first."""

    record: TaskRecord
    live: tuple[LiveRun, ...]


@value(frozen=True, slots=True)
class OwedRun:
    """A run that needs somebody: a pending one that is due, or a running one that lost its owner.

    `record` is None when the task was removed, or removed and made anew.
    """

    run: Run
    record: TaskRecord | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is due at `now`, read inside the transaction of a claim."""

    now: datetime
    tasks: Sequence[DueTask]
    pending: Sequence[OwedRun]
    expired: Sequence[OwedRun]
    running: Mapping[str, int]
    """How many runs of each group are running, whoever runs them."""


@value(frozen=True, slots=True)
class Advance:
    """A task moves on to its next slot."""

    task_id: int
    next_slot: datetime | None
    next_run_at: datetime | None
    runs_started: int


@dataclass(slots=True)
class Claim:
    """What a claim writes."""

    advances: list[Advance] = field(default_factory=list)
    starts: list[NewRun] = field(default_factory=list)
    """Inserted as running under the claimer's lease. One whose slot has that attempt already, or a
    later one, is left out: losing is a normal answer."""
    waits: list[NewRun] = field(default_factory=list)
    """Inserted as pending, on the same condition."""
    resumes: list[OwedRun] = field(default_factory=list)
    """Pending runs of the snapshot that are now running under the claimer's lease."""
    finishes: list[Finish] = field(default_factory=list)
    """Ends of expired runs, and of pending ones that are cancelled."""
    replaced: list[int] = field(default_factory=list)
    """Waiting runs to delete; a skip stands for their slot."""
    cancels: list[int] = field(default_factory=list)
    """Running runs whose owner is to cancel them."""
    skips: list[Skip] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Tasks that cannot be decoded, and why."""


Plan = Callable[[Snapshot], Claim]


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought: the runs that are now the claimer's, each with the id of its task."""

    now: datetime
    runs: Sequence[tuple[Run, int]]
    more: bool
    """Whether the limit cut the snapshot short."""


@dataclass(frozen=True, slots=True)
class Wake:
    """When somebody has to look again."""

    now: datetime
    """By the clock that decides what is due."""
    at: datetime | None
    """The earliest of: next slot, due pending run, end of a lease. None: nothing is to come."""
    cancels: Sequence[int] = ()
    """Runs of the asking owner that somebody wants cancelled."""


@dataclass(frozen=True, slots=True)
class TaskWrite:
    """A task to save.

    `record.revision` is the one that was read, or 0 for a task that must not exist yet. With
    `drop_pending`, the task's pending runs that were not triggered by hand end as cancelled, with
    that text as the message.
    """

    record: TaskRecord
    skips: tuple[Skip, ...] = ()
    drop_pending: str | None = None

    @property
    def expected(self) -> tuple[int, int] | None:
        """The id and the revision that the stored task must have; None: it must not exist.

        A task that was made anew has revisions of its own, so the revision alone says little.
        """
        return (self.record.id, self.record.revision) if self.record.revision else None


@dataclass(frozen=True, slots=True)
class Report:
    """What a running handler has to say so far."""

    run_id: int
    epoch: int
    progress: str | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a task's history to keep."""

    task_name: str
    keep: int | None
    """This many of its newest runs, and of its newest skips; None: all."""
    before: datetime | None
    """Nothing that ended before this instant; None: everything."""


MOST_ROWS = 10**9
HIGHEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks to list, by name. Every condition that is not None must hold. Raises InvalidTask
    for a bad limit."""

    names: Sequence[str] | None = None
    after: str | None = None
    """Only names after this one: the last name of the page before."""
    limit: int | None = 100
    search: str | None = None
    """Part of the name or of the handler's, in any case (of ASCII letters)."""
    handler: str | None = None
    enabled: bool | None = None
    last_status: str | None = None

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_integer("limit", self.limit, 0, MOST_ROWS)


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs to list, newest (highest id) first. Every condition that is not None must hold.
    Raises InvalidTask and NaiveDatetime for conditions that make no sense."""

    ids: Sequence[int] | None = None
    task_name: str | None = None
    statuses: Sequence[Status] | None = None
    before_id: int | None = None
    """Only lower ids: the last id of the page before."""
    since: datetime | None = None
    """Only slots at or after this instant."""
    until: datetime | None = None
    """Only slots at or before this instant."""
    limit: int = 50
    offset: int = 0

    def __post_init__(self) -> None:
        _check_span(self)
        check_integer("limit", self.limit, 0, MOST_ROWS)
        check_integer("offset", self.offset, 0, MOST_ROWS)
        for run_id in (*(self.ids or ()), *(() if self.before_id is None else (self.before_id,))):
            check_integer("run id", run_id, -HIGHEST_ID, HIGHEST_ID)
        if self.statuses is not None:
            unknown = [status for status in self.statuses if status not in list(Status)]
            if unknown or isinstance(self.statuses, str):
                raise InvalidTask(
                    f"bad statuses {self.statuses!r:.80}: a list of {', '.join(Status)}"
                )


@dataclass(frozen=True, slots=True)
class SkipQuery:
    """Which skips of a task to list, newest first; those that reach into `since`..`until`. Raises
    InvalidTask and NaiveDatetime for conditions that make no sense."""

    task_name: str
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        _check_span(self)
        check_integer("limit", self.limit, 0, MOST_ROWS)


def _check_span(query: RunQuery | SkipQuery) -> None:
    """Have the bounds of the query in UTC, as every storage compares them."""
    for name in ("since", "until"):
        if (bound := getattr(query, name)) is not None:
            object.__setattr__(query, name, instant(bound, name))


NEWEST = 2_000
"""How far down from the newest a list over all runs is read before indexes are asked."""


def filters_all_runs(query: RunQuery) -> bool:
    """Whether the answer is to be picked from the runs of all tasks.

    Mostly it is among the `NEWEST`. Where it is not, a reader that goes down the table may have to
    go to its other end, so the ids are to be found in an index.
    """
    if query.ids is not None or query.task_name is not None:
        return False
    return bool(query.statuses) or query.since is not None or query.until is not None


def can_be_stored(text: str) -> bool:
    """Whether every storage can keep `text`: no NUL, and no half of a surrogate pair. What is not
    storable is stored nowhere, so a query for it finds nothing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


class Storage(Protocol):
    """Where tasks, runs and skips are kept."""

    precision: timedelta
    """The smallest part of an instant that survives a round trip."""

    async def open(self) -> None:
        """Make the storage usable: connect, and bring the schema up to date.

        Safe when several processes do it at once. Opening an open storage does nothing. Raises
        StorageTooNew, with the storage unchanged, when a newer version wrote it.
        """
        ...

    async def close(self) -> None:
        """Give back what `open` took. What is being written is written first."""
        ...

    async def save_tasks(self, writes: Sequence[TaskWrite], now: datetime) -> list[str]:
        """Insert or replace the definition, slots and pause of each task; runs and last outcomes
        stay. Returns the names that were refused, since the task is not the one, or not at the
        revision, that was read; of those, nothing is written. When what was dropped leaves no run
        of a task running or due, its oldest waiting one becomes due.
        """
        ...

    async def remove_tasks(self, names: Sequence[str], now: datetime, *, cancel: bool) -> list[str]:
        """Delete tasks; names without a task are passed over. Returns the names deleted.

        Pending runs end as cancelled. Running ones are left, or with `cancel`, their owners are
        asked to cancel them. History stays until it is pruned.
        """
        ...

    async def tasks(self, query: TaskQuery) -> list[TaskRecord]:
        """The tasks that fit, in the order of their names' code points."""
        ...

    async def runs(self, query: RunQuery) -> list[Run]:
        """The runs that fit, highest id first."""
        ...

    async def skips(self, query: SkipQuery) -> list[Skip]:
        """The skips that fit, latest `last_slot` first; of those, the one recorded last."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """How many runs are "running" and "pending", how many of the pending ones are a further
        attempt ("retries") or wait for other runs of their task ("queued"), and how many tasks
        there are ("tasks")."""
        ...

    async def wake(self, now: datetime, owner: str, full_groups: Sequence[str] = ()) -> Wake:
        """When there is next something to do. Reads no more than a few index entries, whatever the
        number of tasks; writes nothing.

        Slots and pending runs of `full_groups` are left out.
        """
        ...

    async def claim(
        self,
        plan: Plan,
        now: datetime,
        *,
        owner: str,
        lease: timedelta,
        limit: int,
        full_groups: Sequence[str] = (),
    ) -> Claimed:
        """Read what is due, ask `plan` what to do about it, and write that, in one transaction.

        The snapshot holds at most `limit` pending runs and slots together, none of `full_groups`,
        and at most `limit` expired runs; nothing that another claim under way has taken, and no
        task that is disabled or broken. Those of the highest priority are taken first, of one
        priority the pending runs, of those the earliest, and of those the lowest ids; of the
        expired runs, the ones that expired first. `plan` is called once at most, may be called from
        another thread, and must not wait.

        Every task that is advanced or of which a run starts gets a new, higher revision, and that
        is the run's epoch. When no run of a task is left running or due, its oldest waiting one
        becomes due. A skip whose (task, reason, run_id) is stored already, with a run_id, extends
        that one.
        """
        ...

    async def finish(self, finishes: Sequence[Finish], now: datetime) -> list[int]:
        """Record the ends of runs. Returns the ids of those that were refused, since the run is not
        (or no more) as the Finish says; of those, nothing is written. One that is already recorded
        just so, by the same owner in the same epoch, is accepted and changes nothing.

        An end without `retry` is the slot's outcome: it sets the task's `last_status` and
        `failures`, and may disable the task (then its pending runs end, as with `drop_pending`). A
        `retry` is inserted only while the task exists, and is enabled or the run was triggered by
        hand. When no run of a task is left running or due, its oldest waiting one becomes due.
        """
        ...

    async def renew(
        self, owner: str, now: datetime, lease: timedelta, reports: Sequence[Report] = ()
    ) -> list[tuple[Run, int]]:
        """Extend the leases of all runs that `owner` has running, and store what they report.

        Returns those runs, each with the id of its task. One that the caller does not know of was
        claimed in a transaction whose answer was lost.
        """
        ...

    async def enqueue(
        self,
        runs: Sequence[NewRun],
        now: datetime,
        *,
        revision: int,
        replaced: Sequence[int] = (),
        cancels: Sequence[int] = (),
        skips: Sequence[Skip] = (),
    ) -> list[int] | None:
        """Insert pending runs, one or more, of one task, on condition that it is at `revision`.

        Returns their ids, without those that a claim would leave out; None when the condition
        does not hold. A manual run whose slot is taken by another manual one moves on by
        microseconds. `replaced`, `cancels` and `skips` are as for a claim.
        """
        ...

    async def cancel(self, run_id: int, now: datetime, by: str) -> Run | None:
        """End a pending run as cancelled, or ask the owner of a running one to cancel it.

        Returns the run as it was before, or None when there is no such run. An ended run is left as
        it is.
        """
        ...

    async def prune(self, retentions: Sequence[Retention], limit: int) -> int:
        """Delete ended runs, and skips, that are not to be kept: at most `limit` rows in all.
        Returns how many rows were deleted.
        """
        ...

    async def names_with_history(self, after: str, limit: int) -> list[str]:
        """Names after `after` of which there are runs or skips, in order, of tasks that exist or
        did."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed`, in the event loop's thread, when another process may have written.

        A hint that may come late or never; the engine polls all the same.
        """
        ...
