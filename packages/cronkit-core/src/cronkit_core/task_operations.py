"""Operations on tasks: what is read is changed by a pure function, and written on condition that
nobody else has changed it meanwhile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Any

from . import changes
from .changes import Definition
from .clock import Clock
from .definition import check_integer, decode_leniently
from .errors import Conflict, InvalidTask, TaskNotFound
from .events import Events, TaskAdded, TaskDisabled, TaskEnabled, TaskRemoved, TaskUpdated
from .executor import Handler
from .handlers import Handlers
from .preview import UpcomingSlot, preview, preview_task
from .schedules._spec import shown
from .schedules.base import instant
from .schedules.parse import parse_schedule
from .storage.base import Storage, TaskQuery, TaskWrite
from .tasks import Task, TaskRecord

SAVED_AT_ONCE = 500
ATTEMPTS = 50
MOST_PREVIEWED = 10_000


class TaskOperations(Handlers, ABC):
    """What a Scheduler does with tasks. It works while the scheduler runs or not."""

    storage: Storage
    clock: Clock
    events: Events

    @abstractmethod
    async def open(self) -> None:
        """Open the storage; silently do nothing when it is."""

    @abstractmethod
    def wake(self) -> None:
        """Have the loop look for due work now."""

    @abstractmethod
    def in_turn(self) -> AbstractAsyncContextManager[Any]:
        """While this is held, this process's loop claims and records nothing.

        What is read and then written on condition that it is still the same needs it where a task's
        runs follow each other without a pause.
        """

    async def add_task(
        self,
        name: str,
        handler: str | Handler,
        schedule: object,
        config: Mapping[str, Any] | None = None,
        timezone: str | None = None,
        **policies: Any,
    ) -> Task:
        """Create the task, or make it as described when it exists: safe at every start.

        `schedule` is what `parse_schedule` takes; `timezone` an IANA name (default UTC); `policies`
        the fields of `Policies`. A task that exists stays enabled or disabled as it is, and keeps
        its next slot when the schedule is the same; when it changed, the earlier one of that and
        the new schedule's first slot is next. Raises InvalidTask and InvalidSchedule, with nothing
        stored.
        """
        wish = {
            "name": name,
            "handler": handler,
            "schedule": schedule,
            "config": config,
            "timezone": timezone,
            **policies,
        }
        return (await self._opened_then_add([wish]))[0]

    async def add_tasks(self, tasks: Iterable[Mapping[str, Any]]) -> list[Task]:
        """`add_task` for many: dicts of its arguments. All are checked before one is stored; they
        are stored 500 in a transaction."""
        return await self._opened_then_add(list(tasks))

    async def _opened_then_add(self, wishes: Sequence[Mapping[str, Any]]) -> list[Task]:
        await self.open()
        return await self._add(wishes)

    async def _add(self, wishes: Sequence[Mapping[str, Any]]) -> list[Task]:
        now = self.clock.now()
        definitions: dict[str, Definition] = {}
        handlers: dict[str, Handler] = {}
        for wish in wishes:
            named = _with_handler_name(wish)
            definition = changes.define(now, **named)
            name = definition.name
            if name in definitions:
                raise InvalidTask(f"task name {name!r} comes twice")
            definitions[name] = definition
            if callable(handler := wish["handler"]):
                self.check_handler(name, handler)
                handlers[name] = handler
        for name, handler in handlers.items():
            self.register_handler(name, handler)
        names = list(definitions)
        tasks: list[Task] = []
        for i in range(0, len(names), SAVED_AT_ONCE):
            some = names[i : i + SAVED_AT_ONCE]
            saved = await self._save(
                some,
                lambda name, old: changes.save(old, definitions[name], now, keep_earlier=True),
            )
            tasks += [changes.saved_as(definitions[name], saved[name]) for name in some]
        self.wake()
        return tasks

    async def update_task(self, name: str, **changed: Any) -> Task:
        """Change what `changed` names: any argument of `add_task`, and `enabled`.

        A new schedule or zone takes effect with its first slot after now. Raises TaskNotFound,
        InvalidTask and InvalidSchedule, with nothing stored.
        """
        await self.open()
        now = self.clock.now()
        enabled = changed.pop("enabled", None)
        if enabled is not None and not isinstance(enabled, bool):
            raise InvalidTask(f"bad enabled {enabled!r}: True or False")
        handler = changed.get("handler")
        if callable(handler):
            self.check_handler(name, handler)
            changed["handler"] = name

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            wish = changes.redefine(old, changed) if changed else None
            made = changes.change(old, wish, now, enabled=enabled)
            if callable(handler):
                self.register_handler(name, handler)
            return made

        saved = await self._save([name], write)
        self.wake()
        return decode_leniently(saved[name])

    async def remove_task(self, name: str, *, cancel: bool = True) -> bool:
        """Delete the task; its history stays until it is pruned.

        An active run is cancelled, or with `cancel=False` left to end. Returns whether there was
        such a task.
        """
        await self.open()
        removed = await self.storage.remove_tasks([name], self.clock.now(), cancel=cancel)
        if removed:
            self.events.emit(TaskRemoved(name))
        self.wake()
        return bool(removed)

    async def enable_task(self, name: str) -> None:
        """Let the task go on, with its first slot after now. The slots that passed meanwhile are
        recorded as disabled. Raises TaskNotFound."""

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            return changes.enable(old, self.clock.now())

        await self.open()
        await self._save([name], write)
        self.wake()

    async def disable_task(
        self, name: str, *, note: str | None = None, by: str | None = None
    ) -> None:
        """Pause the task, and keep why and who. A running run goes on; pending ones that nobody
        triggered by hand end as cancelled. Raises TaskNotFound."""

        def write(name: str, old: TaskRecord | None) -> TaskWrite | None:
            if old is None:
                raise TaskNotFound(name)
            return changes.disable(old, self.clock.now(), note, by)

        await self.open()
        await self._save([name], write)
        self.wake()

    async def _save(
        self, names: Sequence[str], write: Callable[[str, TaskRecord | None], TaskWrite | None]
    ) -> dict[str, TaskRecord]:
        """Read the tasks, make the writes, and write them on condition that nothing changed in
        between; else do it again for those that did."""
        saved: dict[str, TaskRecord] = {}
        left = list(names)
        for attempt in range(ATTEMPTS):
            async with self.in_turn() if attempt else nullcontext():
                query = TaskQuery(names=left, limit=None)
                old = {record.name: record for record in await self.storage.tasks(query)}
                made = {name: write(name, old.get(name)) for name in left}
                writes = [w for w in made.values() if w is not None]
                refused = []
                if writes:
                    refused = await self.storage.save_tasks(writes, self.clock.now())
            accepted = dict.fromkeys(left)
            for name in refused:
                del accepted[name]
            for name in accepted:
                if (w := made[name]) is None:
                    saved[name] = old[name]
                else:
                    saved[name] = w.record
                    self._tell_saved(old.get(name), w.record)
            if not refused:
                return saved
            left = refused
        raise Conflict(f"tasks {left!r:.200} were changed by others again and again: try later")

    def _tell_saved(self, old: TaskRecord | None, new: TaskRecord) -> None:
        if old is None:
            self.events.emit(TaskAdded(new.name))
            return
        if old.enabled == new.enabled or _definition(old) != _definition(new):
            self.events.emit(TaskUpdated(new.name))
        if new.enabled and not old.enabled:
            self.events.emit(TaskEnabled(new.name))
        elif old.enabled and not new.enabled:
            self.events.emit(TaskDisabled(new.name, new.paused_by, new.paused_note))

    async def get_task(self, name: str) -> Task:
        """The task with that name. Raises TaskNotFound."""
        await self.open()
        return decode_leniently(await self._record(name))

    async def tasks(self, query: TaskQuery | None = None) -> list[Task]:
        """The tasks that fit, by name; all of them without a query."""
        await self.open()
        records = await self.storage.tasks(query or TaskQuery(limit=None))
        return [decode_leniently(record) for record in records]

    async def preview(
        self,
        name: str | None = None,
        n: int = 10,
        *,
        schedule: object = None,
        timezone: str | None = None,
        after: datetime | None = None,
    ) -> list[UpcomingSlot]:
        """The next `n` slots of the task `name`; or those of `schedule` after `after` (else now),
        in `timezone` where it names none, as the task would have them.

        Slots come with their local times, and notes where clocks change. Raises TaskNotFound,
        InvalidTask and InvalidSchedule.
        """
        check_integer("n", n, 1, MOST_PREVIEWED)
        if schedule is None and name is None:
            raise InvalidTask("a preview needs the name of a task, or a schedule")
        if schedule is None:
            assert name is not None
            return preview_task(await self.get_task(name), n)
        now = self.clock.now()
        after = now if after is None else instant(after, "after")
        anchor = changes.anchor_of(now)
        return preview(parse_schedule(schedule, timezone, anchor=anchor, seed=name), after, n)

    async def _record(self, name: str) -> TaskRecord:
        records = await self.storage.tasks(TaskQuery(names=[name]))
        if not records:
            raise TaskNotFound(name)
        return records[0]


def _definition(record: TaskRecord) -> tuple[object, ...]:
    """What of a task is changed by an update, and not by a pause."""
    return (
        record.handler,
        record.config,
        record.schedule_config,
        record.timezone,
        record.overlap_policy,
        record.retry_max,
        record.retry_backoff,
        record.policies,
        record.task_group,
        record.priority,
    )


def _with_handler_name(wish: Mapping[str, Any]) -> dict[str, Any]:
    """`wish` with the name under which its handler, if it is a function, is to be registered."""
    if not isinstance(wish, Mapping):
        raise InvalidTask(f"a task is a dict of the arguments of add_task, not {shown(wish)}")
    needed = {"name", "handler", "schedule"}
    if missing := needed - wish.keys():
        raise InvalidTask(f"a task needs {', '.join(sorted(missing))}: {dict(wish)!r:.80}")
    return {**wish, "handler": wish["name"]} if callable(wish["handler"]) else dict(wish)
