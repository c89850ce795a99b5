"""The functions that tasks name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from .definition import check_name
from .errors import HandlerNotFound, InvalidTask
from .executor import Handler, is_generator

F = TypeVar("F", bound=Callable[..., Any])


class Handlers:
    """Handlers by name."""

    handler_arguments: ClassVar[Sequence[str]] = ("run",)
    """What a handler is called with."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register_handler(self, name: str, handler: Handler) -> None:
        """Let tasks name `handler`, a sync or async function of one argument, the run.

        Raises InvalidTask for what cannot be called so, or does nothing when it is.
        """
        self.check_handler(name, handler)
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

    def check_handler(self, name: str, handler: object) -> None:
        """Raises InvalidTask for what cannot be called with `handler_arguments`, or does nothing
        when it is. What does not tell what it takes is let through."""
        check_name(name, "handler")
        if not callable(handler):
            raise InvalidTask(f"handler {name!r} is not callable: {handler!r}")
        if is_generator(handler):
            raise InvalidTask(
                f"handler {name!r} is a generator function, so that calling it runs nothing: "
                f"take the `yield` out"
            )
        try:
            # What a decorator wraps may take something else than the decorator does.
            signature = inspect.signature(handler, follow_wrapped=False)
        except (TypeError, ValueError, NameError):
            # NameError: Python 3.14 evaluates annotations, which may be for type checkers.
            return
        try:
            signature.bind(*self.handler_arguments)
        except TypeError as error:
            wanted = ", ".join(self.handler_arguments)
            raise InvalidTask(
                f"handler {name!r} takes {signature}, and is called with ({wanted}): {error}"
            ) from None
