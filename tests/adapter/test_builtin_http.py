"""The built-in handler `cron:http`: what it requests, and what it must not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from builtin_site import Make, Site, make, site

from cronkit_core.errors import InvalidTask
from datasette_cron.allow_list import AllowList
from datasette_cron.requirements import check_config

__all__ = ["make", "site"]


class Answers(BaseHTTPRequestHandler):
    """An HTTP server that answers as its paths say, and remembers what it was asked."""

    seen: list[tuple[str, str, dict[str, str], bytes]]
    elsewhere: str
    release: threading.Event

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        self.seen.append((self.command, self.path, dict(self.headers), body))
        status, headers, content = 200, {}, b"hello"
        match self.path.split("/")[-1].split("?")[0]:
            case "away":
                status, headers = 302, {"location": self.elsewhere}
            case "on":
                status, headers = 302, {"location": "/hooks/hello"}
            case "up":
                status, headers = 302, {"location": "/admin"}
            case "round":
                status, headers = 302, {"location": "/hooks/round"}
            case "broken":
                status, content = 503, b"out of paper"
            case "long":
                content = b"\xc3\xa9" * 500_000
            case "slow":
                self.release.wait(10)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(content)
            except OSError:  # the client has seen enough
                self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *args: Any) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.answers = type("These", (Answers,), {"seen": [], "release": threading.Event()})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self.answers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    @property
    def seen(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return self.answers.seen  # type: ignore[attr-defined,no-any-return]

    def close(self) -> None:
        self.answers.release.set()  # type: ignore[attr-defined]
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """Two servers; the path /hooks/away of the first redirects to the second."""
    made = Server(), Server()
    made[0].answers.elsewhere = f"http://{made[1].host}/hooks/hello"  # type: ignore[attr-defined]
    yield made
    for server in made:
        server.close()


@pytest.fixture
async def web(make: Make, servers: tuple[Server, Server]) -> tuple[Site, str, Server]:
    """A Site that may request what is under /hooks/ of the first server, that URL, and the
    server."""
    url = f"http://{servers[0].host}/hooks"
    return await make(http_allow=[f"{url}/"]), url, servers[0]


async def test_http_get(web: tuple[Site, str, Server]) -> None:
    site, url, server = web
    output = await site.output("cron:http", {"url": f"{url}/hello?a=1"})
    assert output == {"status": 200, "body": "hello"}
    [(method, path, _, body)] = server.seen
    assert (method, path, body) == ("GET", "/hooks/hello?a=1", b"")


async def test_http_with_everything(web: tuple[Site, str, Server]) -> None:
    site, url, server = web
    headers = {"Authorization": "Bearer s3cret"}
    config = {"url": url, "method": "post", "headers": headers, "json": {"a": [1]}, "timeout": 5}
    await site.output("cron:http", config)
    await site.output("cron:http", {"url": url, "method": "PUT", "body": "é"})
    (first, _, sent, body), (second, _, _, text) = server.seen
    assert (first, sent["Authorization"], json.loads(body)) == (
        "POST",
        "Bearer s3cret",
        {"a": [1]},
    )
    assert (second, text.decode()) == ("PUT", "é")


async def test_http_keeps_the_beginning_of_a_long_answer(web: tuple[Site, str, Server]) -> None:
    site, url, _ = web
    assert (await site.output("cron:http", {"url": f"{url}/long"}))["body"] == "é" * 1_000


async def test_http_follows_redirects_on_the_list(web: tuple[Site, str, Server]) -> None:
    site, url, server = web
    assert (await site.output("cron:http", {"url": f"{url}/on"}))["status"] == 200
    assert [path for _, path, _, _ in server.seen] == ["/hooks/on", "/hooks/hello"]


@pytest.mark.parametrize("path", ["away", "up"])
async def test_http_redirects_do_not_leave_the_list(
    web: tuple[Site, str, Server], servers: tuple[Server, Server], path: str
) -> None:
    site, url, server = web
    run = await site.run("cron:http", {"url": f"{url}/{path}"})
    assert run.error_type == "InvalidTask"
    assert "is not on the list plugins.datasette-cron.http_allow" in (run.error_message or "")
    assert [path for _, path, _, _ in server.seen] == [f"/hooks/{path}"]
    assert servers[1].seen == []


@pytest.mark.parametrize(
    ("path", "config", "message"),
    [
        ("broken", {}, ": the answer was 503: out of paper"),
        ("slow", {"timeout": 0.2}, ": no answer within 0.2 s"),
        ("round", {}, ": TooManyRedirects"),
    ],
)
async def test_http_errors_hold_no_secrets(
    web: tuple[Site, str, Server], path: str, config: dict[str, Any], message: str
) -> None:
    site, url, server = web
    run = await site.run("cron:http", {"url": f"{url}/{path}?token=s3cret", **config})
    assert run.error_type == "HttpError"
    assert run.error_message == f"GET http://{server.host}{message}"
    assert "s3cret" not in (run.error_traceback or "")


async def test_http_to_nobody(make: Make, servers: tuple[Server, Server]) -> None:
    site = await make(http_allow=["127.0.0.1:1"])
    run = await site.run("cron:http", {"url": "http://127.0.0.1:1/"})
    assert (run.error_message or "").startswith("GET http://127.0.0.1:1: no connection: ")


async def test_http_without_a_list(site: Site) -> None:
    run = await site.run("cron:http", {"url": "http://localhost/"})
    assert "no URL may be requested" in (run.error_message or "")


BAD_HTTP: list[tuple[dict[str, Any], str]] = [
    ({}, "the config of cron:http has no 'url'"),
    ({"url": 3}, "bad url 3"),
    ({"url": "/hooks"}, "bad URL: one that begins with http:// or https://"),
    ({"url": "file:///etc/passwd"}, "bad URL: one that begins with"),
    ({"url": "http://[::1"}, "bad URL: "),
    ({"url": "http://a:b@example.com/"}, "bad URL: it holds a user name"),
    ({"url": "http://elsewhere.com/"}, "a URL of http://elsewhere.com is not on the list"),
    ({"url": "http://example.com/", "method": "TRACE"}, "bad method 'TRACE'"),
    ({"url": "http://example.com/", "headers": {"a": 1}}, "bad headers['a']"),
    ({"url": "http://example.com/", "headers": {"a": "b\r\nc: d"}}, "line breaks have no place"),
    ({"url": "http://example.com/", "headers": {"": "b"}}, "bad headers['']"),
    ({"url": "http://example.com/", "json": 1, "body": "x"}, "both 'json' and 'body'"),
    ({"url": "http://example.com/", "timeout": 0}, "bad timeout 0"),
    ({"url": "http://example.com/", "verify": False}, "unknown key in the config of cron:http"),
]


@pytest.mark.parametrize(("config", "message"), BAD_HTTP)
async def test_http_refuses(make: Make, config: dict[str, Any], message: str) -> None:
    site = await make(http_allow=["example.com"])
    with pytest.raises(InvalidTask) as caught:
        await check_config(site.scheduler, "cron:http", config)
    assert message in str(caught.value)


HOST = "example.com"
HOOKS = "https://example.com/hooks/"


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        (HOST, "https://example.com", True),
        (HOST, "http://example.com/any/path?x=y", True),
        (HOST, "https://EXAMPLE.com:443/", True),
        (HOST, "https://example.com:8443/", False),
        (HOST, "https://www.example.com/", False),
        (HOST, "https://example.com.evil.org/", False),
        (HOST, "https://evil.org/example.com", False),
        (HOST, "https://evil.org?example.com", False),
        (HOST, "https://evil.org#@example.com", False),
        (HOST, "https://evil.org\\@example.com/", False),
        (HOST, "https://notexample.com/", False),
        ("localhost:8001", "http://localhost:8001/-/api", True),
        ("localhost:8001", "http://localhost/", False),
        ("[::1]:8001", "http://[::1]:8001/", True),
        ("müller.de", "https://xn--mller-kva.de/", True),
        (HOOKS, "https://example.com/hooks/a", True),
        (HOOKS, "https://example.com/hooks", True),
        (HOOKS, "https://example.com/hooks?x=y", True),
        (HOOKS, "http://example.com/hooks/a", False),
        (HOOKS, "https://example.com/hooksmith", False),
        (HOOKS, "https://example.com/", False),
        (HOOKS, "https://example.com/hooks/../admin", False),
        (HOOKS, "https://example.com/hooks/%2e%2e/admin", False),
        (HOOKS, "https://example.com/hooks/%252e%252e/admin", False),
        (HOOKS, "https://example.com/hooks/..%2fadmin", False),
        (HOOKS, "https://example.com/hooks/..\\admin", False),
        (HOOKS, "https://example.com/hooks/..%5cadmin", False),
        (HOOKS, "https://example.com//hooks/a", False),
        ("https://example.com/hooks", "https://example.com/hooks/a", True),
        ("https://example.com/hooks", "https://example.com/hooks2", False),
        ("https://example.com", "https://example.com/a", True),
    ],
)
def test_the_list_of_urls(entry: str, url: str, allowed: bool) -> None:
    if allowed:
        AllowList((entry,)).check(url)
    else:
        with pytest.raises(InvalidTask):
            AllowList((entry,)).check(url)
