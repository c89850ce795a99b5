"""`cron:http`: a request to a URL that the configuration allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cronkit_core.errors import InvalidTask

from .allow_list import AllowList, origin, parse_url
from .checks import Check, checked, mapping, required, seconds, text

if TYPE_CHECKING:
    from datasette.app import Datasette
    from httpx2 import AsyncClient, Request, Response

NAME = "cron:http"
WHAT = f"the config of {NAME}"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
TIMEOUT = 30.0
SHOWN = 2_000
"""How many bytes of the answer are kept."""


class HttpError(Exception):
    """A request that got no answer, or one with a status of 400 or more."""


def _method(key: str, value: object) -> str:
    if not isinstance(value, str) or value.upper() not in METHODS:
        raise InvalidTask(f"bad {key} {value!r:.80}: one of {', '.join(METHODS)}")
    return value.upper()


def _headers(key: str, value: object) -> dict[str, str]:
    headers = mapping(key, value)
    for name, content in headers.items():
        if not isinstance(content, str) or not (name + content).isascii():
            raise InvalidTask(f"bad {key}[{name!r:.40}]: a text of ASCII characters is wanted")
        if not name or not (name + content).isprintable():
            raise InvalidTask(f"bad {key}[{name!r:.40}]: line breaks have no place in a header")
    return headers


CHECKS: Mapping[str, Check] = {
    "url": text,
    "method": _method,
    "headers": _headers,
    "json": lambda key, value: value,
    "body": text,
    "timeout": seconds(0.001, 3_600),
}


class HTTP:
    """Makes an HTTP request. Config: url; method (default GET), headers, json or body, timeout
    (seconds for all of it, default 30).

    Returns the `status` and the first bytes of the `body`; a status of 400 or more is an error.
    Redirects are followed as far as `allowed` goes.
    """

    def __init__(self, allowed: AllowList) -> None:
        self._allowed = allowed

    async def __call__(self, datasette: Datasette, config: dict[str, Any]) -> dict[str, Any]:
        data = self._read(config)
        where = f"{data['method']} {origin(parse_url(data['url']))}"
        from httpx2 import AsyncClient, ConnectError, HTTPError

        try:
            async with (
                asyncio.timeout(data["timeout"]),
                AsyncClient(
                    timeout=data["timeout"],
                    follow_redirects=True,
                    event_hooks={"request": [self._check_request]},
                ) as client,
            ):
                return await _request(client, where, data)
        except TimeoutError:
            raise HttpError(f"{where}: no answer within {data['timeout']:g} s") from None
        except ConnectError as error:
            raise HttpError(f"{where}: no connection: {error}") from None
        except HTTPError as error:
            # Its message may hold the URL, and that a secret.
            raise HttpError(f"{where}: {type(error).__name__}") from None

    async def validate(self, datasette: Datasette, config: dict[str, Any]) -> None:
        """Raises InvalidTask for a URL that is not allowed, and what else has no meaning."""
        self._read(config)

    def _read(self, config: Mapping[str, Any]) -> dict[str, Any]:
        data = {"method": "GET", "timeout": TIMEOUT, **checked(config, CHECKS, WHAT)}
        required(data, "url", WHAT)
        if "json" in data and "body" in data:
            raise InvalidTask(f"{WHAT} has both 'json' and 'body': leave one out")
        self._allowed.check(data["url"])
        return data

    async def _check_request(self, request: Request) -> None:
        self._allowed.check_url(request.url)


async def _request(client: AsyncClient, where: str, data: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if "json" in data:
        content["json"] = data["json"]
    elif "body" in data:
        content["content"] = data["body"].encode()
    async with client.stream(
        data["method"], data["url"], headers=data.get("headers"), **content
    ) as response:
        body = (await _beginning(response)).decode(errors="replace")
        if response.status_code >= 400:
            raise HttpError(f"{where}: the answer was {response.status_code}: {body[:200]}")
        return {"status": response.status_code, "body": body}


async def _beginning(response: Response) -> bytes:
    found = b""
    async for chunk in response.aiter_bytes(SHOWN):
        found += chunk
        if len(found) >= SHOWN:
            break
    return found[:SHOWN]
