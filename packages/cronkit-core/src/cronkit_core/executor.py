"""One handler becomes one Outcome: call it, in its thread if it is sync, and normalise what comes
of it. Nothing that a handler does gets past this file, except its cancellation."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from .context import ActiveRun, Fail, Retry, enter
from .definition import ESCAPED_NUL, make_storable
from .outcome import Outcome
from .runs import Reason
from .threads import Threads

MAX_OUTPUT = 64_000
MAX_MESSAGE = 10_000
MAX_TRACEBACK = 64_000
MAX_TYPE = 200

Handler = Callable[[ActiveRun], Any]
Resolve = Callable[[str], Handler]


async def perform(
    resolve: Resolve, run: ActiveRun, threads: Threads, started: Callable[[], None]
) -> Outcome:
    """Execute the handler of `run`. Raises CancelledError alone.

    `started` is called when the handler is: a sync one may have to wait for a thread before.
    """
    enter(run)
    try:
        handler = resolve(run.task.handler)
    except LookupError as error:
        return Outcome(reason=Reason.NO_HANDLER, message=_bounded(str(error), MAX_MESSAGE))
    try:
        value = await _call(handler, run, threads, started)
        return Outcome(output=_output(value, run))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit in a handler must not end the loop
        return failure(error)


async def _call(
    handler: Handler, run: ActiveRun, threads: Threads, started: Callable[[], None]
) -> Any:
    if is_async(handler):
        started()
        return await handler(run)
    value = await threads.run(handler, run, started=started)
    # A sync function may return something to await, such as a lambda around a coroutine function.
    return await value if inspect.isawaitable(value) else value


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling `handler` makes a coroutine: a function, method, partial or object with an
    async `__call__`."""
    return _is(inspect.iscoroutinefunction, handler)


def is_generator(handler: Callable[..., Any]) -> bool:
    """Whether calling `handler` runs none of its body, since there is a `yield` in it."""
    return _is(inspect.isgeneratorfunction, handler) or _is(inspect.isasyncgenfunction, handler)


def _is(kind: Callable[[object], bool], handler: Callable[..., Any]) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return kind(handler) or kind(getattr(handler, "__call__", None))  # noqa: B004


def failure(error: BaseException) -> Outcome:
    """What `error`, raised by a handler, means."""
    try:
        message = str(error)
    except Exception as unprintable:  # noqa: BLE001  # an exception of somebody's own making
        message = f"(its message cannot be made: {type(unprintable).__name__})"
    leaves = tuple(_leaves(error))
    retries = [leaf for leaf in leaves if isinstance(leaf, Retry)]
    asked = [leaf.after for leaf in retries if leaf.after is not None]
    kinds = [kind for leaf in (error, *leaves) for kind in type(leaf).__mro__]
    names = [name for kind in kinds for name in (kind.__name__, _whole_name(kind))]
    return Outcome(
        reason=Reason.EXCEPTION,
        message=_bounded(message or type(error).__name__, MAX_MESSAGE),
        error_type=_bounded(type(error).__qualname__, MAX_TYPE),
        # What asks for a retry is worth one, whatever exceptions the policy names.
        error_types=() if retries else tuple(dict.fromkeys(names)),
        traceback=_bounded_end("".join(traceback.format_exception(error)), MAX_TRACEBACK),
        retry_after=max(asked, default=None),
        final=any(isinstance(leaf, Fail) for leaf in leaves),
    )


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What is in an exception group, such as a TaskGroup raises; any other exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _whole_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _output(value: Any, run: ActiveRun) -> str | None:
    if value is None:
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except Exception as error:  # noqa: BLE001  # whatever a value of somebody's own making raises
        run.log(f"the handler's return value was not kept, since it is not JSON: {error}")
        return None
    text = ESCAPED_NUL.sub(r"\1\\ufffd", text)
    if len(text) > MAX_OUTPUT:
        run.log(
            f"the handler's return value has {len(text)} characters of JSON: only a part is kept"
        )
        return json.dumps({"truncated": text[: MAX_OUTPUT // 2]}, ensure_ascii=False)
    return text


def _bounded(text: str, limit: int) -> str:
    text = make_storable(text)
    return text if len(text) <= limit else text[:limit] + "..."


def _bounded_end(text: str, limit: int) -> str:
    # The end of a traceback says most.
    text = make_storable(text)
    return text if len(text) <= limit else "..." + text[-limit:]
