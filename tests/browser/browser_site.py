"""What the server of these tests has: handlers that do as they are told, and a policy for content
that is stricter than Datasette's pages themselves would bear."""

TROUBLE = (
    "<script>alert(1)</script>/../\"'",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }} &amp; ${alert(3)}",
    "javascript:alert(4)",
    "runs",
    "new",
    "~72uns %2e%2e/ #?&= \u202e ünï 任务",
)
"""Names that are text wherever they are shown, and no page or part of an address."""

TASKS = (
    {"name": "nightly copy", "handler": "shop:ok", "schedule": "30 2 * * *"},
    {
        "name": "roll-up",
        "handler": "shop:ok",
        "schedule": "*/15 * * * *",
        "timezone": "Europe/Berlin",
        "config": {"database": "sales"},
    },
    {"name": "mail", "handler": "shop:fail", "schedule": "0 9 * * 1-5"},
)

PLUGIN = '''
import asyncio
import base64
import hashlib
import re
from pathlib import Path

import datasette as package
from datasette import Forbidden, hookimpl
from datasette.version import __version__

from cronkit_core import current_run
from datasette_cron.requirements import demands


async def ok(datasette, config):
    """Does nothing, and says so."""
    current_run().log("<b>nothing</b> was done")
    return {"done": "<i>nothing</i>"}


async def fail(datasette, config):
    """Always fails."""
    raise ValueError("out of <b>paper</b>")


async def steps(datasette, config):
    """Goes a step, and then waits until the file named in its config is there."""
    run = current_run()
    for step in (1, 2):
        run.log(f"step {step} of <2>\\u202e")
        await run.progress(step, 2, f"<step {step}>\\x1b")
        while step == 1 and not Path(config["until"]).exists():
            await asyncio.sleep(0.05)


async def talk(datasette, config):
    """Says much without a space in it."""
    run = current_run()
    run.log("l" * 2_000)
    await run.progress(1, 3, "p" * 400)
    raise ValueError("e" * 2_000)


def nobody(datasette, actor, config):
    raise Forbidden("not for you")


@demands(requires=nobody)
async def closed(datasette, config):
    """Not for everybody."""


def has_shape(datasette, config):
    if "shape" not in config:
        raise ValueError("a shape is needed")


@demands(validate=has_shape)
async def picky(datasette, config):
    """Needs a shape."""


@hookimpl
def cron_register_handlers(datasette):
    return {"ok": ok, "fail": fail, "steps": steps, "closed": closed, "picky": picky, "talk": talk}


def policy():
    # Datasette has two inline scripts on every page: these two and no others are let through.
    menus = (Path(package.__file__).parent / "templates" / "_close_open_menus.html").read_text()
    scripts = [
        f"window.datasetteVersion = '{__version__}';",
        re.search("<script>(.*)</script>", menus, re.DOTALL)[1],
    ]
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return f"default-src 'self'; script-src 'self' {allowed}".encode()


@hookimpl
def asgi_wrapper(datasette):
    header = (b"content-security-policy", policy())

    def wrap(app):
        async def guarded(scope, receive, send):
            async def with_policy(message):
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], header]}
                await send(message)

            await app(scope, receive, with_policy)

        return guarded

    return wrap
'''
