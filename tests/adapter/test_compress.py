"""Pages and their files in gzip, for those who take it, as HTTP wants that done."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from adapter_kit import EVERYBODY, plugin
from datasette.app import Datasette
from datasette.plugins import pm

import datasette_cron
from datasette_cron.compress import App, accepts_gzip, compressed

GZIP = {"accept-encoding": "br, gzip"}
PLAIN = {"accept-encoding": "identity"}
PAGES = [
    "/-/cron",
    "/-/cron/new",
    "/-/cron/runs",
    "/-/cron/nightly",
    "/-/cron/none",
    "/-/static/app.css",
    "/-/static/datasette-manager.js",
    "/-/static-plugins/datasette_cron/cron.css",
    "/-/static-plugins/datasette-cron/cron.js",
]
OTHERS = ["/-/api/cron/tasks", "/-/api/cron/openapi.json", "/", "/-/versions.json", "/-/cronies"]

Make = Callable[..., Awaitable[Datasette]]


@pytest.fixture
async def datasette(make_datasette: Make) -> Datasette:
    made = await make_datasette()
    await made._cron_scheduler.add_task("nightly", "test:ok", "0 3 * * *")
    return made


@pytest.mark.parametrize("path", PAGES)
async def test_pages_and_their_files_are_compressed(datasette: Datasette, path: str) -> None:
    plain = await datasette.client.get(path, headers=PLAIN)
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    gzip = await datasette.client.get(path, headers=GZIP)
    assert gzip.headers["content-encoding"] == "gzip"
    assert gzip.status_code == plain.status_code
    assert gzip.headers["vary"] == plain.headers["vary"]
    assert gzip.headers.get("etag") == plain.headers.get("etag")
    assert "content-length" not in gzip.headers
    if "static" in path:
        assert gzip.content == plain.content
    else:
        assert {"Cookie", "Authorization"} <= set(gzip.headers["vary"].split(", "))
        assert "</html>" in gzip.text


@pytest.mark.parametrize("path", OTHERS)
async def test_nothing_else_is(datasette: Datasette, path: str) -> None:
    answer = await datasette.client.get(path, headers=GZIP)
    assert "content-encoding" not in answer.headers
    assert "Accept-Encoding" not in answer.headers.get("vary", "")


async def test_the_tag_of_a_task_stays_strong(datasette: Datasette) -> None:
    answer = await datasette.client.get("/-/api/cron/tasks/nightly", headers=GZIP)
    assert answer.headers["etag"].startswith('"')


@pytest.mark.parametrize("address", ["http://localhost/data", "http://localhost"])
async def test_below_a_base_url(make_datasette: Make, address: str) -> None:
    """Whether the proxy takes it from the address or not."""
    datasette = await make_datasette(settings={"base_url": "/data/"})
    for path in ("/-/cron", "/-/static/app.css"):
        # A whole address is asked for as it is.
        answer = await datasette.client.request(
            "GET", address + path, headers=GZIP, avoid_path_rewrites=True
        )
        assert answer.status_code == 200
        assert answer.headers["content-encoding"] == "gzip"


async def test_it_can_be_switched_off(make_datasette: Make) -> None:
    config = {**EVERYBODY, "plugins": {"datasette-cron": {"compress": False}}}
    datasette = await make_datasette(config=config)
    for path in ("/-/cron", "/-/static/app.css"):
        answer = await datasette.client.get(path, headers=GZIP)
        assert "content-encoding" not in answer.headers
        assert "Accept-Encoding" not in answer.headers.get("vary", "")
    assert answer.headers["etag"].startswith('"')


@pytest.mark.parametrize("headers", [GZIP, PLAIN])
async def test_a_file_that_is_known_is_not_sent_again(
    datasette: Datasette, headers: dict[str, str]
) -> None:
    path = "/-/static/app.css"
    tag = (await datasette.client.get(path, headers=headers)).headers["etag"]
    assert tag.startswith('W/"')  # it stands for two rows of bytes
    for known in (tag, tag.removeprefix("W/")):
        again = await datasette.client.get(path, headers={**headers, "if-none-match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
        assert again.headers["vary"] == "Accept-Encoding"
        assert "content-encoding" not in again.headers
    other = await datasette.client.get(path, headers={**headers, "if-none-match": 'W/"other"'})
    assert other.status_code == 200


async def test_a_browser_keeps_our_files(datasette: Datasette) -> None:
    html = (await datasette.client.get("/-/cron")).text
    address = next(part for part in html.split('"') if "/cron.css" in part)
    answer = await datasette.client.get(address, headers=GZIP)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("headers", [GZIP, PLAIN])
@pytest.mark.parametrize("path", ["/-/cron", "/-/static/app.css"])
async def test_head_has_the_headers_of_get(
    datasette: Datasette, path: str, headers: dict[str, str]
) -> None:
    """Also no other length than GET's (RFC 9110, 8.6)."""
    head = await datasette.client.head(path, headers=headers)
    get = await datasette.client.get(path, headers=headers)
    assert head.status_code == 200
    assert head.headers == get.headers


async def test_head_has_no_body_to_compress(send_through: Any) -> None:
    got = await send_through(start(HTML, (b"content-length", b"9")), body(b""), method="HEAD")
    assert dict(got[0]["headers"])[b"content-encoding"] == b"gzip"
    assert b"content-length" not in dict(got[0]["headers"])
    assert got[1] == body(b"")


async def test_forms_come_back_compressed(datasette: Datasette) -> None:
    answer = await datasette.client.post("/-/cron/new", data={"name": "kept"}, headers=GZIP)
    assert answer.status_code == 400
    assert answer.headers["content-encoding"] == "gzip"
    assert 'value="kept"' in answer.text


@pytest.fixture
def shouting() -> Iterator[None]:
    """A plugin that changes the HTML of every page, and is loaded before ours."""

    def asgi_wrapper(datasette: Datasette) -> Callable[[App], App]:
        def wrap(app: App) -> App:
            async def shouting(scope: Any, receive: Any, send: Any) -> None:
                async def louder(message: Any) -> None:
                    if "body" in message:
                        body = message["body"].replace(b"Scheduled tasks", b"SCHEDULED TASKS")
                        message = {**message, "body": body}
                    await send(message)

                await app(scope, receive, louder)

            return shouting

        return wrap

    name = pm.get_name(datasette_cron)
    pm.unregister(datasette_cron)
    with plugin("datasette_shouting", asgi_wrapper=asgi_wrapper):
        pm.register(datasette_cron, name)
        yield


async def test_other_plugins_see_pages_as_they_are(shouting: None, make_datasette: Make) -> None:
    datasette = await make_datasette()
    answer = await datasette.client.get("/-/cron", headers=GZIP)
    assert answer.headers["content-encoding"] == "gzip"
    assert "SCHEDULED TASKS" in answer.text


# --- an application of any kind ----------------------------------------------------------------


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


HTML = (b"Content-Type", b"text/html")


@pytest.fixture
def send_through(datasette: Datasette) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """What a client that takes gzip gets of these messages, each with what was sent until then."""

    async def through(*messages: dict[str, Any], method: str = "GET") -> list[dict[str, Any]]:
        got: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            for number, message in enumerate(messages, 1):
                await send(message)
                assert len(got) == number

        async def send(message: Any) -> None:
            got.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": "/-/cron",
            "headers": [(b"Accept-Encoding", b"gzip")],
        }
        await compressed(app, datasette)(scope, None, send)
        return got

    return through


async def test_parts_are_passed_on_as_they_come(send_through: Any) -> None:
    parts = [b"one", b"", b"two" * 500, b"three"]
    got = await send_through(
        start(HTML, (b"Content-Length", b"1508")), *(body(part, True) for part in parts), body(b"")
    )
    assert dict(got[0]["headers"])[b"content-encoding"] == b"gzip"
    assert b"content-length" not in dict(got[0]["headers"])
    reader = zlib.decompressobj(wbits=31)
    assert [reader.decompress(message["body"]) for message in got[1:]] == [*parts, b""]
    assert reader.eof


@pytest.mark.parametrize(
    "messages",
    [
        [start(HTML, (b"Content-Encoding", b"br")), body(b"encoded")],
        [start((b"Content-Type", b"text/event-stream")), body(b"data: 1\n\n", True), body(b"")],
        [start((b"Content-Type", b"image/png")), body(b"\x89PNG")],
        [start((b"Content-Type", b"application/gzip")), body(b"\x1f\x8b")],
        [start(HTML, (b"Content-Range", b"bytes 0-1/9"), status=206), body(b"<p")],
        [start(status=204), body(b"")],
        [start(HTML, status=304), body(b"")],
        [start(), body(b"of no kind")],
    ],
)
async def test_some_answers_stay_as_they_are(
    send_through: Any, messages: list[dict[str, Any]]
) -> None:
    got = await send_through(*messages)
    assert got[1:] == messages[1:]
    headers = {key.lower(): value for key, value in messages[0]["headers"]}
    sent = {key.lower(): value for key, value in got[0]["headers"]}
    assert sent == headers | ({} if b"content-encoding" in headers else {b"vary": sent[b"vary"]})


async def test_headers_are_added_to(send_through: Any) -> None:
    cookies = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    varies = [(b"Vary", b"Cookie"), (b"vary", b"Origin")]
    tag = (b"ETag", b'W/"weak"')
    got = await send_through(start(HTML, *cookies, *varies, tag), body(b"<p>"))
    sent = got[0]["headers"]
    assert [h for h in sent if h[0] == b"set-cookie"] == cookies
    assert [v for k, v in sent if k == b"vary"] == [b"Cookie, Origin, Accept-Encoding"]
    assert [v for k, v in sent if k == b"etag"] == [b'W/"weak"']


async def test_a_choice_is_told_once(send_through: Any) -> None:
    got = await send_through(start(HTML, (b"vary", b"Cookie, accept-encoding")), body(b"<p>"))
    assert [v for k, v in got[0]["headers"] if k == b"vary"] == [b"Cookie, accept-encoding"]


async def test_what_is_no_request_passes(datasette: Datasette) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], receive, send))

    await compressed(app, datasette)({"type": "lifespan"}, 1, 2)  # type: ignore[arg-type]
    await compressed(app, datasette)({"type": "websocket", "path": "/-/cron"}, 1, 2)  # type: ignore[arg-type]
    assert seen == [("lifespan", 1, 2), ("websocket", 1, 2)]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("br, gzip ; q=0.001", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("gzipped", False),
        ("br", False),
        ("identity", False),
        ("", False),
    ],
)
def test_who_accepts_gzip(value: str, wanted: bool) -> None:
    assert accepts_gzip([(b"accept-encoding", value.encode())]) is wanted
    assert accepts_gzip([]) is False
