"""The functions that tasks name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .definition import check_name
from .errors import HandlerNotFound, InvalidTask
from .executor import Handler, is_generator

F = TypeVar("F", bound=Callable[..., Any])


class Handlers:
    """Handlers by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register_handler(self, name: str, handler: Handler) -> None:
        """Let tasks name `handler`, a sync or async function of one argument, the run.

        Raises InvalidTask for what cannot be called, or does nothing when it is.
        """
        check_handler(name, handler)
        self._handlers[name] = handler

    def handler(self, name: str | None = None) -> Callable[[F], F]:
        """Register the decorated function under `name`, or under its own.

        Raises InvalidTask as `register_handler` does.
        """

        def register(function: F) -> F:
            self.register_handler(function.__name__ if name is None else name, function)
            return function

        return register

    def get_handler(self, name: str) -> Handler | None:
        """The handler with that name, or None."""
        return self._handlers.get(name)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The registered handlers by name."""
        return self._handlers

    def resolve(self, name: str) -> Handler:
        """The handler with that name. Raises HandlerNotFound, with the names that there are."""
        handler = self.get_handler(name)
        if handler is None:
            raise HandlerNotFound(name, self.handlers)
        return handler


def check_handler(name: str, handler: object) -> None:
    """Raises InvalidTask for what cannot be called, or does nothing when it is."""
    check_name(name, "handler")
    if not callable(handler):
        raise InvalidTask(f"handler {name!r} is not callable: {handler!r}")
    if is_generator(handler):
        raise InvalidTask(
            f"handler {name!r} is a generator function, so that calling it runs nothing: "
            f"take the `yield` out"
        )
