"""The way from a process to the storage: it takes time, it fails, and what fails may have happened.

Every call is one transaction, done at one moment in the name of the world; what it changed is
shown to an observer at that moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partialmethod
from random import Random
from typing import TYPE_CHECKING, Any

from sim_asked import Asked, asked_now
from sim_loop import Process, SimLoop

from cronkit_core import StorageError

if TYPE_CHECKING:
    from sim_node import Node

WRITES = frozenset({"save_tasks", "remove_tasks", "claim", "finish", "enqueue", "cancel", "prune"})
READS = frozenset({"tasks", "runs", "skips", "counts", "names_with_history", "wake"})
METHODS = WRITES | READS | {"renew"}
# Where `now` stands among the positional arguments.
NOW = {
    "save_tasks": 1,
    "remove_tasks": 1,
    "wake": 0,
    "claim": 1,
    "finish": 1,
    "renew": 1,
    "enqueue": 1,
    "cancel": 1,
}


@dataclass(slots=True)
class CallFault:
    """What goes wrong with the next calls of one process."""

    what: str
    methods: str
    skip: int
    count: int
    seconds: float
    down: float

    def hits(self, method: str) -> bool:
        """Whether it is this call's turn."""
        fits = self.methods in ("any", method)
        fits = fits or (self.methods == "write" and method in WRITES)
        if not fits or self.count <= 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        return True


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction that the storage has done, and who asked for it."""

    method: str
    node: str
    now: datetime | None
    """The time that decided, for those that take one."""
    args: tuple[Any, ...]
    options: dict[str, Any]
    result: Any
    sent: float
    """When it set out from its process."""
    asked: Asked | None
    """The operation that it is a part of, if any."""

    @property
    def owner(self) -> str | None:
        """In whose name it was done, for those that say so."""
        match self.method:
            case "claim":
                return self.options["owner"]
            case "renew":
                return self.args[0]
            case "finish":
                owners = {finish.owner for finish in self.args[0]}
                return owners.pop() if len(owners) == 1 else None
        return None


Observe = Callable[[Call], None]


class Server:
    """The storage itself, as all links share it."""

    def __init__(
        self,
        loop: SimLoop,
        storage: Any,
        observe: Observe,
        *,
        latency: float,
        now: Callable[[], datetime] | None,
        outlives: bool,
        seed: int,
    ) -> None:
        self.loop = loop
        self.storage = storage
        self.observe = observe
        self.latency = latency
        self.now = now
        """The clock that decides what is due, where that is the storage's."""
        self.outlives = outlives
        """Whether what a process has sent is done even if the process dies or stalls meanwhile."""
        self.seed = seed

    def do(
        self,
        link: Link,
        method: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
        sent: float,
        asked: Asked | None,
    ) -> Any:
        """One transaction, now."""
        now: datetime | None = None
        if (i := NOW.get(method)) is not None:
            now = args[i]
            if self.now is not None:
                args = _at(self.now(), args, i)
                now = args[i]
        result = _finished(getattr(self.storage, method)(*args, **options))
        if method not in READS:
            name = link.node.name
            self.observe(Call(method, name, now, args, options, result, sent, asked))
        return result


class Link:
    """One process's storage. It has the interface of one."""

    precision = timedelta(microseconds=1)

    def __init__(self, server: Server, process: Process, node: Node) -> None:
        self.node = node
        self._server = server
        self._process = process
        self._random = Random(f"link {server.seed} {node.name} {node.generation}")

    async def open(self) -> None:
        if (fault := self._fault("open")) is not None:
            raise StorageError(f"the storage cannot be opened: {fault.what}")

    async def close(self) -> None:
        pass

    def subscribe(self, changed: Callable[[], None]) -> None:
        pass

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        server, loop = self._server, self._server.loop
        there = self._random.random() ** 3 * server.latency
        back = self._random.random() ** 3 * server.latency
        fault = self._fault(method)
        if fault is not None and fault.what == "late":
            there += fault.seconds
        answer: asyncio.Future[Any] = loop.create_future()
        sent, asked = loop.time(), asked_now()

        def commit() -> None:
            if fault is not None and fault.what == "kill before":
                return self.node.die(fault.down, self._process)
            if fault is not None and fault.what == "before":
                return loop.at(back, deliver, StorageError(f"{method} failed, nothing was done"))
            try:
                result = server.do(self, method, args, options, sent, asked)
            except StorageError as error:
                return loop.at(back, deliver, error)
            if fault is not None and fault.what == "kill after":
                return self.node.die(fault.down, self._process)
            if fault is not None and fault.what == "after":
                result = StorageError(f"{method} failed, after it was done")
            waits = fault.seconds if fault is not None and fault.what == "late answer" else 0.0
            return loop.at(back + waits, deliver, result)

        def deliver(result: Any) -> None:
            if answer.done():  # the caller was cancelled
                return
            if isinstance(result, StorageError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        if server.outlives:
            loop.at(there, commit)
        else:
            loop.call_later(there, commit, context=self._process.context)
        if fault is None or not fault.what.startswith("late"):
            return await answer
        # How long it takes is not known: the process may sleep, or stand still, meanwhile.
        self._process.late_calls += 1
        try:
            return await answer
        finally:
            self._process.late_calls -= 1
            self.node.disturb(f"{fault.what} {method} is over", 0.0)

    def _fault(self, method: str) -> CallFault | None:
        """What goes wrong with this call, if anything does."""
        fault = next((f for f in self.node.faults if f.hits(method)), None)
        if fault is not None:
            is_late = fault.what.startswith("late")
            if not fault.what.startswith("kill"):  # a death is counted when it comes
                self.node.world.faults["late calls" if is_late else "failed calls"] += 1
            lasts = fault.seconds if is_late else 0.0
            self.node.disturb(f"{fault.what} {method}", lasts)
        return fault


for _name in METHODS:
    setattr(Link, _name, partialmethod(Link._call, _name))


def _at(now: datetime, args: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    """The arguments with the storage's time in place of the caller's, which is the one at `i`."""
    changed = list(args)
    changed[i] = now
    if isinstance(args[0], list) and getattr(args[0][0], "due_at", None) == args[i]:
        changed[0] = [replace(new, due_at=now) for new in args[0]]
    return tuple(changed)


def _finished(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("the storage waited for something in the middle of a transaction")
