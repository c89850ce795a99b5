"""Which URLs `cron:http` may request: the list `http_allow` of the plugin's configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cronkit_core.errors import InvalidTask

if TYPE_CHECKING:
    from httpx2 import URL

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[\w.-]+(:[0-9]+)?|\[[0-9a-fA-F:.]+\](:[0-9]+)?")


@dataclass(frozen=True)
class AllowList:
    """URLs that begin with one of the entries.

    An entry is a host ("example.com", "localhost:8001") or the beginning of a URL
    ("https://example.com/hooks/"). A host without a port stands for http and https on their usual
    ports; a path stands for itself and all that is below it, whether it ends in / or not.
    """

    entries: tuple[str, ...] = ()

    @cached_property
    def _allowed(self) -> list[URL]:
        return [url for entry in self.entries for url in _urls(entry)]

    def check(self, text: str) -> None:
        """Raises InvalidTask for a URL that may not be requested."""
        self.check_url(parse_url(text))

    def check_url(self, url: URL) -> None:
        """`check` for a URL as the HTTP client has it. Nothing of the URL but its origin is in the
        error, as others may be secret."""
        if not self.entries:
            raise InvalidTask(
                "no URL may be requested: list those that may in plugins.datasette-cron.http_allow "
                "in datasette.yaml"
            )
        if not any(_fits(url, allowed) for allowed in self._allowed):
            raise InvalidTask(
                f"a URL of {origin(url)} is not on the list plugins.datasette-cron.http_allow"
            )


def parse_url(text: str) -> URL:
    """`text` as the HTTP client reads it. Raises InvalidTask for what is no URL with a host."""
    from httpx2 import URL, InvalidURL

    try:
        url = URL(text)
    except (InvalidURL, UnicodeEncodeError) as error:  # a half of a surrogate pair is the latter
        raise InvalidTask(f"bad URL: {error}") from None
    if url.scheme not in PORTS or not url.host:
        raise InvalidTask("bad URL: one that begins with http:// or https:// and a host is wanted")
    if url.userinfo:
        raise InvalidTask("bad URL: it holds a user name or a password: send a header")
    return url


def check_entries(entries: Iterable[str]) -> None:
    """Raises InvalidTask for an entry that stands for no URL."""
    for entry in entries:
        for url in _urls(entry):
            if url.query or url.fragment:
                raise InvalidTask(f"bad entry {entry!r:.80}: a ? or # has no place in it")


def origin(url: URL) -> str:
    """Scheme, host and port of `url`: as much of it as may be shown."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _urls(entry: str) -> list[URL]:
    if "://" in entry:
        return [parse_url(entry)]
    if not _HOST.fullmatch(entry):
        raise InvalidTask(
            f"bad entry {entry!r:.80}: a host such as 'example.com', or the beginning of a URL "
            f"such as 'https://example.com/hooks/'"
        )
    return [parse_url(f"{scheme}://{entry}/") for scheme in PORTS]


def _fits(url: URL, allowed: URL) -> bool:
    if (url.scheme, url.raw_host, _port(url)) != (allowed.scheme, allowed.raw_host, _port(allowed)):
        return False
    decoded = unquote(url.path)  # twice by now, as some servers do
    if "\\" in decoded or any(part in (".", "..") for part in decoded.split("/")):
        return False  # where that leads is up to the server
    path, base = _path(url), _path(allowed).rstrip("/")
    return path == base or path.startswith(f"{base}/")


def _path(url: URL) -> str:
    return url.raw_path.decode("ascii").partition("?")[0]


def _port(url: URL) -> int:
    return url.port or PORTS[url.scheme]
