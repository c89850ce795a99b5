"""What a handler demands of the tasks that are to use it: a config that has a meaning, and somebody
who may have it run.

A handler says so with two attributes, both optional, both sync or async functions:

- `handler.validate(datasette, config)` raises ValueError for a config that has no meaning.
- `handler.requires(datasette, actor, config)` raises `datasette.Forbidden`, or returns False, when
  `actor` (a dict, or None for somebody who is not signed in) may not have the handler run so.

An actor who may not is told that, and not what else is wrong. `demands` sets the attributes.

Who makes a task, changes one, or triggers one with a config of its own, over REST or on a page, has
to meet both, whatever it was that changed. A task in datasette.yaml acts for the operator, and one
that a plugin adds acts for the plugin: of the first the config is checked, of the second nothing.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from datasette.utils import await_me_maybe
from datasette.utils.asgi import Base400, Forbidden

from cronkit_core.errors import CronkitError, HandlerNotFound, InvalidTask

logger = logging.getLogger("datasette_cron")

if TYPE_CHECKING:
    from datasette.app import Datasette
    from datasette.permissions import Resource

    from .scheduler import Scheduler

F = TypeVar("F", bound=Callable[..., Any])
Actor = Mapping[str, Any] | None


def demands(
    *, validate: Callable[..., Any] | None = None, requires: Callable[..., Any] | None = None
) -> Callable[[F], F]:
    """Declare what the decorated handler demands of its tasks."""

    def declare(handler: F) -> F:
        if validate is not None:
            handler.validate = validate  # type: ignore[attr-defined]
        if requires is not None:
            handler.requires = requires  # type: ignore[attr-defined]
        return handler

    return declare


async def check_config(scheduler: Scheduler, handler: str, config: Mapping[str, Any]) -> None:
    """Ask the handler whether `config` has a meaning to it. Raises HandlerNotFound, and InvalidTask
    where it has none."""
    await _validate(scheduler.datasette, handler, _find(scheduler, handler), config)


async def check_task(
    scheduler: Scheduler, actor: Actor, handler: str, config: Mapping[str, Any]
) -> None:
    """Ask the handler whether `actor` may have it run with `config`.

    To be called before anything is stored, with the handler and the config that the task, or the
    triggered run, will have. Raises HandlerNotFound (a handler that is not here cannot be asked),
    InvalidTask, and Forbidden.
    """
    found = _find(scheduler, handler)
    problem: InvalidTask | None = None
    try:
        await _validate(scheduler.datasette, handler, found, config)
    except InvalidTask as error:
        problem = error
    requires = _demand(found, "requires")
    if requires is not None:
        try:
            allowed = await await_me_maybe(requires(scheduler.datasette, actor, _own(config)))
        except Forbidden:
            raise  # before the problem is told, which may tell of what there is
        except Base400:
            if problem is None:
                raise
        except Exception as error:  # noqa: BLE001
            if problem is None:
                problem = _trouble(handler, "requires", error)
        else:
            if allowed is False:
                raise Forbidden(f"Permission denied: the handler {handler} refuses this actor")
    if problem is not None:
        raise problem


async def refusal(
    scheduler: Scheduler, actor: Actor, handler: str, config: Mapping[str, Any]
) -> bool:
    """Whether `actor` may surely not have the handler run with `config`.

    For a picker of handlers: what cannot be said of an unfinished config is not refused.
    """
    found = scheduler.get_handler(handler)
    requires = None if found is None else _demand(found, "requires")
    if requires is None:
        return False
    try:
        return await await_me_maybe(requires(scheduler.datasette, actor, _own(config))) is False
    except Forbidden:
        return True
    except Exception:  # noqa: BLE001  # such as a config that lacks what the handler looks at
        return False


async def require(datasette: Datasette, actor: Actor, action: str, resource: Resource) -> None:
    """Raises Forbidden where `actor` may not do `action` with `resource`."""
    if not await datasette.allowed(action=action, resource=resource, actor=actor):
        raise Forbidden(f"Permission denied: this needs {action} on {resource}")


async def _validate(
    datasette: Datasette, name: str, handler: Callable[..., Any], config: Mapping[str, Any]
) -> None:
    validate = _demand(handler, "validate")
    if validate is None:
        return
    try:
        await await_me_maybe(validate(datasette, _own(config)))
    except CronkitError:
        raise
    except ValueError as error:
        raise InvalidTask(f"bad config for the handler {name!r}: {error}") from error
    except Base400:
        raise
    except Exception as error:
        raise _trouble(name, "validate", error) from error


def _trouble(name: str, demand: str, error: Exception) -> InvalidTask:
    """What is told where a demand fails in a way that it should not: the config is of a shape that
    its author did not think of, or it has a mistake."""
    logger.warning("%s of the handler %r failed", demand, name, exc_info=error)
    return InvalidTask(
        f"bad config for the handler {name!r}: it could not be checked ({type(error).__name__})"
    )


def _find(scheduler: Scheduler, name: str) -> Callable[..., Any]:
    handler = scheduler.get_handler(name)
    if handler is None:
        raise HandlerNotFound(name, scheduler.handlers)
    return handler


def _demand(handler: Callable[..., Any], name: str) -> Callable[..., Any] | None:
    while isinstance(handler, functools.partial) and not hasattr(handler, name):
        handler = handler.func
    demand: Callable[..., Any] | None = getattr(handler, name, None)
    return demand


def _own(config: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(dict(config))
