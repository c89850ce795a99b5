"""Pages of long lists, as Datasette has them: `_size`, `_next`, and `next` and `next_url` in the
answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from datasette.utils.asgi import BadRequest, Response

from cronkit_core.schedules.base import instant

from .call import Call
from .operations import Parameter

T = TypeVar("T")

SIZE = 100
LARGEST = 1_000
LONGEST_ID = 18
"""Digits: SQLite's integers have no more that all can be used."""
YEARS = (2, 9998)
"""Of instants that are asked about: so far from the ends of time, every zone has them."""
UNESCAPED_PLUS = re.compile(r" (?=\d\d:?\d\d$)")

PAGE = (
    Parameter(
        "_size",
        f"How many at most; `max` stands for {LARGEST}.",
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": LARGEST},
                {"type": "string", "enum": ["max"]},
            ],
            "default": SIZE,
        },
    ),
    Parameter("_next", "The `next` of the page before.", {"type": "string"}),
)


def wants_page(call: Call) -> bool:
    """Whether the request names a page."""
    return any(parameter.name in call.request.args for parameter in PAGE)


def page_size(call: Call, default: int = SIZE) -> int:
    """How long a page is to be. Raises BadRequest."""
    size = call.request.args.get("_size")
    if size is None:
        return default
    if size == "max":
        return LARGEST
    if not (size.isascii() and size.isdigit() and len(size) < 5 and 1 <= int(size) <= LARGEST):
        raise BadRequest(f"bad _size {size!r:.40}: 1 to {LARGEST}")
    return int(size)


def page(
    call: Call, key: str, found: Sequence[T], size: int, show: Callable[[T], Any], token: Any
) -> Response:
    """The answer with the first `size` of `found`, which holds one more where there is a next page;
    `token` makes of the last one shown where that begins."""
    shown = found[:size]
    following = str(token(shown[-1])) if len(found) > size else None
    url = None
    if following is not None:
        url = call.datasette.absolute_url(call.request, call.with_args({"_next": following}))
    return Response.json(
        {
            "ok": True,
            key: [show(item) for item in shown],
            "next": following,
            "next_url": url,
        }
    )


def next_id(call: Call) -> int | None:
    """The id in `_next`, or None at the first page. Raises BadRequest."""
    token = call.request.args.get("_next")
    if token is None:
        return None
    if (number := read_id(token)) is None:
        raise bad_next(token)
    return number


def bad_next(token: str) -> BadRequest:
    """The error for a `_next` that no page gave."""
    return BadRequest(f"bad _next {token!r:.80}: take it from the page before")


def read_id(text: str) -> int | None:
    """The id that `text` is, or None where it is none."""
    if text.isascii() and text.isdigit() and len(text) <= LONGEST_ID:
        return int(text)
    return None


def query_choice(call: Call, key: str, known: Sequence[str]) -> str | None:
    """What is in the query string under `key`, one of `known`, or None. Raises BadRequest."""
    value: str | None = call.request.args.get(key)
    if value is not None and value not in known:
        raise BadRequest(f"bad {key} {value!r:.80}: one of {', '.join(known)}")
    return value


def query_time(call: Call, key: str) -> datetime | None:
    """The instant in the query string under `key`, or None. Raises BadRequest."""
    value = call.request.args.get(key)
    return None if value is None else read_time(key, value)


def read_time(key: str, value: object) -> datetime:
    """The instant that the text `value` is. Raises BadRequest."""
    example = "an ISO 8601 time with an offset, such as '2027-01-01T09:00:00+00:00'"
    if not isinstance(value, str):
        raise BadRequest(f"bad {key} {value!r:.80}: {example}")
    try:
        # A + that was not escaped arrives as a space.
        at = instant(datetime.fromisoformat(UNESCAPED_PLUS.sub("+", value)), key)
    except (ValueError, OverflowError):
        raise BadRequest(f"bad {key} {value!r:.80}: {example}") from None
    if not YEARS[0] <= at.year <= YEARS[1]:
        raise BadRequest(f"bad {key} {value!r:.80}: in the years {YEARS[0]} to {YEARS[1]}")
    return at
