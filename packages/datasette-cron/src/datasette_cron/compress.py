"""The pages, and the files that they load, travel compressed to clients that accept gzip.

Datasette compresses nothing itself, and its own files are most of what a first visit loads. What
the JSON API answers is left as it is: its ETags are strong, for If-Match, and stand for the bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasette.app import Datasette

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Any, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

OURS = re.compile(r"/-/(cron(/|$)|static/|static-plugins/datasette[-_]cron/)")
TEXT = re.compile(rb"text/(?!event-stream)|application/javascript\b|image/svg\+xml")
REFUSED = re.compile(rb"q=0(\.0*)?")
WITHOUT_WHOLE_BODY = (204, 206, 304)
LEVEL = 6
GZIP = 31
"""zlib's `wbits` for the container of gzip."""


def compressed(app: App, datasette: Datasette) -> App:
    """`app`, with this plugin's pages and their files compressed, unless that is switched off."""

    async def compressing(scope: MutableMapping[str, Any], receive: Any, send: Send) -> None:
        if not _is_ours(scope, datasette):
            await app(scope, receive, send)
            return
        headers = [(key.lower(), value) for key, value in scope["headers"]]
        wanted = accepts_gzip(headers)
        compressor: Any = None

        async def send_compressed(message: Message) -> None:
            nonlocal compressor
            if message["type"] == "http.response.start":
                message, possible = _negotiable(message)
                if possible and wanted:
                    # The answer to HEAD has the headers that GET's would have, and no body.
                    if scope["method"] != "HEAD":
                        compressor = zlib.compressobj(LEVEL, wbits=GZIP)
                    message["headers"] = [
                        *(h for h in message["headers"] if h[0] != b"content-length"),
                        (b"content-encoding", b"gzip"),
                    ]
            elif message["type"] == "http.response.body" and compressor is not None:
                # What is sent in parts is not kept back for a better compression.
                mode = zlib.Z_SYNC_FLUSH if message.get("more_body") else zlib.Z_FINISH
                body = compressor.compress(message.get("body", b"")) + compressor.flush(mode)
                message = {**message, "body": body}
            await send(message)

        await app({**scope, "headers": _with_strong_tags(headers)}, receive, send_compressed)

    return compressing


def accepts_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request with `headers` may be answered in gzip (RFC 9110, 12.5.3)."""
    for key, value in headers:
        if key == b"accept-encoding":
            for part in value.lower().split(b","):
                coding, _, weight = part.partition(b";")
                if coding.strip() in (b"gzip", b"x-gzip"):
                    return REFUSED.fullmatch(weight.strip()) is None
    return False


def _is_ours(scope: MutableMapping[str, Any], datasette: Datasette) -> bool:
    if scope["type"] != "http":
        return False
    # As Datasette's router: a proxy may have taken base_url away, or not.
    path, base = scope["path"], datasette.setting("base_url")
    if path.startswith(base):
        path = "/" + path[len(base) :]
    return OURS.match(path) is not None and datasette._cron_config.compress


def _negotiable(message: Message) -> tuple[Message, bool]:
    """The start of an answer, saying that its encoding was a choice; and whether it was: not where
    somebody else has encoded it, or where there is nothing worth it."""
    headers: Headers = []
    vary, kind = [], b""
    for key, value in message["headers"]:
        match key.lower():
            case b"content-encoding":
                return message, False
            case b"vary":
                vary.append(value)
                continue
            case b"content-type":
                kind = value
            case b"etag" if not value.startswith(b"W/"):
                # It stands for both encodings, and so for no bytes in particular.
                value = b"W/" + value
        headers.append((key.lower(), value))
    if not any(b"accept-encoding" in value.lower() for value in vary):
        vary.append(b"Accept-Encoding")
    headers.append((b"vary", b", ".join(vary)))
    possible = TEXT.match(kind) is not None and message["status"] not in WITHOUT_WHOLE_BODY
    return {**message, "headers": headers}, possible


def _with_strong_tags(headers: Headers) -> Headers:
    """The headers of a request, with the tags of `_negotiable` as the app made them: it compares
    texts, but If-None-Match does not tell weak tags from strong ones (RFC 9110, 13.1.2)."""
    return [
        (key, value.replace(b'W/"', b'"') if key == b"if-none-match" else value)
        for key, value in headers
    ]
