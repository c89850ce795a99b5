"""One handler becomes one Outcome: call it, in its thread if it is sync, and normalise what comes
of it. Nothing that a handler does gets past this file, except its cancellation."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .context import ActiveRun, Fail, Retry, enter
from .runs import Reason
from .threads import Threads

MAX_OUTPUT = 64_000
MAX_MESSAGE = 10_000
MAX_TRACEBACK = 64_000

Handler = Callable[[ActiveRun], Any]
Resolve = Callable[[str], Handler]


@dataclass(frozen=True, slots=True)
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


async def perform(resolve: Resolve, run: ActiveRun, threads: Threads) -> Outcome:
    """Execute the handler of `run`. Raises CancelledError alone."""
    enter(run)
    try:
        handler = resolve(run.task.handler)
    except LookupError as error:
        return Outcome(reason=Reason.NO_HANDLER, message=_bounded(str(error), MAX_MESSAGE))
    try:
        value = await _call(handler, run, threads)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit in a handler must not end the loop
        return failure(error)
    return Outcome(output=_output(value, run))


async def _call(handler: Handler, run: ActiveRun, threads: Threads) -> Any:
    if is_async(handler):
        return await handler(run)
    value = await threads.run(handler, run)
    # A sync function may return something to await, such as a lambda around a coroutine function.
    return await value if inspect.isawaitable(value) else value


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling `handler` makes a coroutine: a function, method, partial or object with an
    async `__call__`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004
    )


def failure(error: BaseException) -> Outcome:
    """What `error`, raised by a handler, means."""
    text = "".join(traceback.format_exception(error))
    return Outcome(
        reason=Reason.EXCEPTION,
        message=_bounded(str(error) or type(error).__name__, MAX_MESSAGE),
        error_type=type(error).__qualname__,
        error_types=tuple(c.__name__ for c in type(error).__mro__),
        traceback=_bounded_end(text, MAX_TRACEBACK),
        retry_after=error.after if isinstance(error, Retry) else None,
        final=isinstance(error, Fail),
    )


def timed_out(seconds: float) -> Outcome:
    """The attempt took longer than its task allows."""
    return Outcome(
        reason=Reason.TIMEOUT,
        message=f"timed out after {seconds:g} s",
        error_type="TimeoutError",
        error_types=_TIMEOUT_TYPES,
    )


_TIMEOUT_TYPES = tuple(c.__name__ for c in TimeoutError.__mro__)


def _output(value: Any, run: ActiveRun) -> str | None:
    if value is None:
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\\u0000", "\\ufffd")
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        run.log(f"the handler's return value was not kept, since it is not JSON: {error}")
        return None
    if len(text) > MAX_OUTPUT:
        run.log(
            f"the handler's return value has {len(text)} characters of JSON: only a part is kept"
        )
        return json.dumps({"truncated": text[: MAX_OUTPUT // 2]}, ensure_ascii=False)
    return text


def _bounded(text: str, limit: int) -> str:
    text = _storable(text)
    return text if len(text) <= limit else text[:limit] + "..."


def _bounded_end(text: str, limit: int) -> str:
    # The end of a traceback says most.
    text = _storable(text)
    return text if len(text) <= limit else "..." + text[-limit:]


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
