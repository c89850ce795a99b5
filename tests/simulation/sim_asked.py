"""What was asked of a scheduler: each transaction knows the operation that it is a part of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim_ledger import Violation

from cronkit_core.tasks import TaskRecord

if TYPE_CHECKING:
    from sim_world import World

_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@dataclass(eq=False, slots=True)
class Asked:
    """One operation, from its call to its end."""

    kind: str
    """add, update, remove, enable, disable, trigger, backfill, or cancel."""
    name: str
    options: dict[str, Any]
    record: TaskRecord | None = None
    """The task as it was when this began."""
    seen: bool = False
    """Whether the task was, at some moment since then, as it is to be."""
    result: Any = None


def asked_now() -> Asked | None:
    """The operation that the caller is a part of."""
    return _asked.get()


@contextmanager
def unasked() -> Iterator[None]:
    """What is called meanwhile is no part of the operation that it happens in."""
    asked = _asked.get()
    _asked.set(None)
    try:
        yield
    except GeneratorExit:
        raise  # what is left of a killed process, thrown away in somebody else's context
    except BaseException:
        _asked.set(asked)
        raise
    _asked.set(asked)


@contextmanager
def ask(world: World, kind: str, name: str, **options: Any) -> Iterator[Asked]:
    """What is called meanwhile is a part of that operation. When it raises, nothing is known of
    it; when it does not, it must have done what was asked."""
    asked = Asked(kind, name, options)
    _asked.set(asked)
    world.requests.begin(asked)
    try:
        yield asked
    except BaseException:
        world.requests.forget(asked)
        raise
    else:
        try:
            world.requests.finish(asked)
        except Violation as violation:
            world.fail(violation.code, f"at {world.loop.time():.3f} s: {violation}")
    finally:
        _asked.set(None)
