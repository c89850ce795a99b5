"""Where a scheduler lives: a script that is told to stop, `cronkit run`, an ASGI application's
lifespan, uvloop, asyncio's eager tasks. Real processes, real signals, the real clock."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cronkit_core import CronkitError, Reason, Scheduler, SQLiteStorage
from cronkit_core.cli_run import add_run_command, run_command
from cronkit_core.storage.base import RunQuery

SOURCE = Path(__file__).parents[2] / "packages/cronkit-core/src"
SECONDS = 30


@contextmanager
def process(
    *command: object, folder: Path, python: str = sys.executable
) -> Iterator[subprocess.Popen[str]]:
    """A Python process in `folder` that is killed when the test fails."""
    started = subprocess.Popen(
        [python, *map(str, command)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()
        assert started.stdout is not None
        started.stdout.close()


def wait_for(started: subprocess.Popen[str], word: str) -> list[str]:
    """Read what the process says until a line holds `word`."""
    assert started.stdout is not None
    said = []
    for line in started.stdout:
        said.append(line.rstrip())
        if word in line:
            return said
    raise AssertionError("\n".join(["it ended:", *said]))


def end(started: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = started.communicate(timeout=SECONDS)
    return started.returncode, said


APP = """
    import asyncio
    from cronkit_core import Scheduler, SQLiteStorage

    scheduler = Scheduler(SQLiteStorage("jobs.db", synchronous="NORMAL"), shutdown_grace=GRACE)

    @scheduler.task({"interval": 0.05}, retry={"max_retries": 3})
    async def tick(run):
        print("tick", flush=True)
        try:
            await asyncio.sleep(LASTS)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise
        print("tock", flush=True)
"""


def app(folder: Path, *, grace: float, lasts: float, more: str = "") -> None:
    text = textwrap.dedent(APP).replace("GRACE", str(grace)).replace("LASTS", str(lasts))
    (folder / "app.py").write_text(text + textwrap.dedent(more))


MAIN = """
    if __name__ == "__main__":
        asyncio.run(scheduler.serve_forever())
        print("stopped", flush=True)
"""


async def recorded(folder: Path) -> list[tuple[str, Reason | None]]:
    storage = SQLiteStorage(folder / "jobs.db")
    await storage.open()
    try:
        runs = await storage.runs(RunQuery(limit=1_000))
        return [(run.status.value, run.reason) for run in runs]
    finally:
        await storage.close()


async def trigger_of(folder: Path, run_id: int) -> str:
    storage = SQLiteStorage(folder / "jobs.db")
    await storage.open()
    try:
        [run] = await storage.runs(RunQuery(ids=[run_id]))
        return run.triggered_by.value
    finally:
        await storage.close()


# --- serve_forever ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_and_running_handlers_end(tmp_path: Path, number: int) -> None:
    app(tmp_path, grace=20, lasts=0.3, more=MAIN)
    with process("app.py", folder=tmp_path) as started:
        wait_for(started, "tick")
        started.send_signal(number)
        code, said = end(started)
    assert (code, said.splitlines()[-2:]) == (0, ["tock", "stopped"])
    assert set(await recorded(tmp_path)) == {("success", None)}


async def test_a_second_signal_cuts_the_grace_short(tmp_path: Path) -> None:
    app(tmp_path, grace=1_000, lasts=1_000, more=MAIN)
    with process("app.py", folder=tmp_path) as started:
        wait_for(started, "tick")
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGTERM)
        # Signals of one number that come at once may be one: another one follows.
        started.send_signal(signal.SIGINT)
        code, said = end(started)
    lines = said.splitlines()
    assert (code, lines[0], lines[-1]) == (0, "cancelled", "stopped")
    assert sorted(await recorded(tmp_path)) == [("error", "interrupted"), ("pending", None)]


async def test_a_kill_is_found_out_and_the_run_is_lost(tmp_path: Path) -> None:
    app(tmp_path, grace=1, lasts=1_000, more=MAIN)
    text = (tmp_path / "app.py").read_text().replace("shutdown_grace=1", "lease=0.5, poll=0.05")
    (tmp_path / "app.py").write_text(
        text.replace('"max_retries": 3', '"max_retries": 3, "base": 0')
    )
    with process("app.py", folder=tmp_path) as started:
        wait_for(started, "tick")
        started.kill()
        started.wait()
    with process("app.py", folder=tmp_path) as started:
        wait_for(started, "tick")
        assert ("error", "lost") in await recorded(tmp_path)


async def test_when_it_is_cancelled_it_stops_too(tmp_path: Path) -> None:
    app(
        tmp_path,
        grace=5,
        lasts=0.2,
        more="""
            async def main():
                try:
                    async with asyncio.timeout(0.5):
                        await scheduler.serve_forever()
                except TimeoutError:
                    status = scheduler._work.done()
                    print("over", status, flush=True)

            asyncio.run(main())
        """,
    )
    with process("app.py", folder=tmp_path) as started:
        code, said = end(started)
    assert (code, said.splitlines()[-1]) == (0, "over True"), said
    assert all(status == "success" for status, _ in await recorded(tmp_path))


def test_a_script_that_forgets_to_stop_ends_all_the_same(tmp_path: Path) -> None:
    """A handler in a thread hangs, and the script comes to its end."""
    (tmp_path / "forgets.py").write_text(
        textwrap.dedent("""
            import asyncio, threading
            from cronkit_core import Scheduler

            scheduler = Scheduler()
            running = threading.Event()

            @scheduler.task({"interval": 0.01})
            def hangs(run):
                running.set()
                threading.Event().wait()

            async def main():
                scheduler.start()
                await asyncio.to_thread(running.wait)

            asyncio.run(main())
            print("the end", flush=True)
        """)
    )
    with process("forgets.py", folder=tmp_path) as started:
        code, said = end(started)
    assert (code, said.splitlines()[-1]) == (0, "the end")


# --- cronkit run -----------------------------------------------------------------------------


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_command(parser.add_subparsers())
    return parser.parse_args(["run", *words])


@pytest.mark.parametrize(
    "target", ["app:scheduler", "app:make", "app:make_later", "app:Holder.scheduler"]
)
def test_run_serves_what_it_is_given(tmp_path: Path, target: str) -> None:
    app(
        tmp_path,
        grace=5,
        lasts=0,
        more="""
            def make():
                return scheduler

            async def make_later():
                return scheduler

            class Holder:
                scheduler = scheduler
        """,
    )
    (tmp_path / "run.py").write_text(
        "import argparse, sys\n"
        "from cronkit_core.cli_run import add_run_command\n"
        "parser = argparse.ArgumentParser()\n"
        "add_run_command(parser.add_subparsers())\n"
        "arguments = parser.parse_args(['run', *sys.argv[1:]])\n"
        "sys.exit(arguments.run(arguments))\n"
    )
    with process("run.py", target, "--log-level", "warning", folder=tmp_path) as started:
        wait_for(started, "tock")
        started.send_signal(signal.SIGTERM)
        code, _ = end(started)
    assert code == 0


BAD_TARGETS = [
    ("app", "bad scheduler 'app': MODULE:NAME, such as app:scheduler"),
    (":scheduler", "bad scheduler ':scheduler': MODULE:NAME, such as app:scheduler"),
    ("no_such_module:x", "there is no module 'no_such_module': run this where Python finds it"),
    ("os.nothing:x", "there is no module 'os.nothing': run this where Python finds it"),
    ("os:nothing", "the module 'os' has no 'nothing'"),
    ("os:sep", "os:sep is no Scheduler but a str"),
    ("builtins:dict", "builtins:dict is no Scheduler but a dict"),
]


@pytest.mark.parametrize(("target", "message"), BAD_TARGETS)
def test_run_says_what_is_wrong(target: str, message: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(CronkitError) as error:
        run_command(parse(target))
    assert str(error.value) == message


def test_what_a_module_itself_fails_to_import_is_shown(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "broken_app.py").write_text("import not_there_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        run_command(parse("broken_app:scheduler"))


# --- in another's event loop -----------------------------------------------------------------

ASGI = """
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            async with scheduler:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        status = await scheduler.status()
        body = b"running" if status.running else b"not running"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""


async def test_in_the_lifespan_of_an_asgi_server(tmp_path: Path) -> None:
    app(tmp_path, grace=5, lasts=0.2, more=ASGI)
    options = ("--port", 0, "--log-level", "warning")
    with process("-m", "uvicorn", "app:application", *options, folder=tmp_path) as started:
        wait_for(started, "tick")
        started.send_signal(signal.SIGTERM)
        _, said = end(started)
    assert "Traceback" not in said
    assert {status for status, _ in await recorded(tmp_path)} == {"success"}


STARLETTE = """
    from starlette.applications import Starlette as Application
    from starlette.responses import PlainTextResponse

    async def trigger(request):
        return PlainTextResponse(str(await scheduler.trigger_task("tick", force=True)))
"""
FASTAPI = """
    from fastapi import FastAPI as Application
    from fastapi.responses import JSONResponse

    async def trigger(request):
        return JSONResponse(await scheduler.trigger_task("tick", force=True))
"""
LIFESPAN = """
    import contextlib

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with scheduler:
            yield
        print("stopped", flush=True)

    application = Application(lifespan=lifespan)
    application.add_route("/trigger", trigger)
"""


@pytest.mark.parametrize("framework", [STARLETTE, FASTAPI], ids=["starlette", "fastapi"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_in_the_lifespan_of_a_framework(tmp_path: Path, framework: str, loop: str) -> None:
    """Handlers run between requests, a request can trigger one, and a signal ends it all well."""
    app(tmp_path, grace=20, lasts=0.2, more=framework + LIFESPAN)
    options = ("--port", 0, "--log-level", "info", "--loop", loop)
    with process("-m", "uvicorn", "app:application", *options, folder=tmp_path) as started:
        [*_, address] = wait_for(started, "Uvicorn running on")
        url = re.search(r"http://[0-9.:]+", address).group()
        with urllib.request.urlopen(f"{url}/trigger", timeout=SECONDS) as answer:
            run_id = int(answer.read())
        wait_for(started, "tock")
        started.send_signal(signal.SIGTERM)
        _, said = end(started)
    assert "Traceback" not in said
    assert "stopped" in said
    assert {status for status, _ in await recorded(tmp_path)} == {"success"}
    assert await trigger_of(tmp_path, run_id) == "manual"


BURST = """
    import asyncio, sys
    from cronkit_core import Scheduler

    async def main():
        scheduler = Scheduler(poll=0.05)
        order, threads = [], []

        async def at_once(run):
            order.append(run.task.name)

        async def later(run):
            await asyncio.sleep(0.01)
            order.append(run.task.name)

        async def fails(run):
            if run.attempt == 1:
                raise ValueError("once")
            order.append(run.task.name)

        async with scheduler:
            for name, handler in (("at once", at_once), ("later", later), ("fails", fails)):
                await scheduler.add_task(
                    name, handler, {"interval": 0.1}, max_runs=3,
                    retry={"max_retries": 1, "base": 0}, catch_up="all", overlap="queue",
                )
            await scheduler.add_task("sync", threads.append, {"interval": 0.1}, max_runs=3)
            while len(order) < 9 or len(threads) < 3:
                await asyncio.sleep(0.01)
        assert sorted(order) == ["at once"] * 3 + ["fails"] * 3 + ["later"] * 3, order
        runs = await scheduler.runs(limit=100)
        assert len(runs) == 15, len(runs)
        print("fine", flush=True)
"""


def test_under_uvloop(tmp_path: Path) -> None:
    text = textwrap.dedent(BURST) + textwrap.dedent("""
        import uvloop

        async def under_uvloop():
            assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
            await main()

        uvloop.run(under_uvloop())
    """)
    (tmp_path / "burst.py").write_text(text)
    with process("burst.py", folder=tmp_path) as started:
        code, said = end(started)
    assert (code, said.splitlines()[-1:]) == (0, ["fine"])


def pythons() -> list[str]:
    """The interpreters of this machine that have eager tasks."""
    found = []
    for name in ("python3.14", "python3.13", "python3.12"):
        path = shutil.which(name)
        if path is None:
            continue
        done = subprocess.run([path, "-c", "print(1)"], capture_output=True, check=False)
        if done.returncode == 0:
            found.append(path)
    found += sorted(map(str, Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python")))
    return found


@pytest.mark.parametrize("debug", [False, True])
def test_with_eager_tasks(tmp_path: Path, debug: bool) -> None:
    """Handlers begin, and may end, before the engine has taken note of their task."""
    found = [sys.executable] if sys.version_info >= (3, 12) else pythons()
    if not found:
        pytest.skip("asyncio has eager tasks from Python 3.12 on, and there is none here")
    eager = f"""
        async def eagerly():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            await main()

        asyncio.run(eagerly(), debug={debug})
    """
    (tmp_path / "burst.py").write_text(textwrap.dedent(BURST) + textwrap.dedent(eager))
    for python in found:
        with process("burst.py", folder=tmp_path, python=python) as started:
            code, said = end(started)
        assert (code, said.splitlines()[-1:]) == (0, ["fine"]), (python, said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_where_event_loops_take_none(number: int, monkeypatch) -> None:
    """As on Windows."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_signal_handler", refuse)
    before = signal.getsignal(number)
    scheduler = Scheduler()
    serving = asyncio.create_task(scheduler.serve_forever())
    while signal.getsignal(number) is before:
        await asyncio.sleep(0)
    signal.raise_signal(number)
    await asyncio.wait_for(serving, 20)
    assert signal.getsignal(number) is before
    assert scheduler.failure is None


async def test_serving_in_another_thread_goes_on_until_it_is_cancelled() -> None:
    """Signals reach the main thread alone."""
    scheduler = Scheduler()
    ran, cancelled = threading.Event(), []

    @scheduler.task({"interval": 0.01})
    def noted(run: object) -> None:
        ran.set()

    async def serve() -> None:
        serving = asyncio.create_task(scheduler.serve_forever())
        await asyncio.to_thread(ran.wait, SECONDS)
        serving.cancel()
        cancelled.extend(await asyncio.gather(serving, return_exceptions=True))

    await asyncio.to_thread(asyncio.run, serve())
    assert ran.is_set()
    assert [type(error) for error in cancelled] == [asyncio.CancelledError]
    assert scheduler.failure is None


def test_a_host_without_zone_data_says_what_to_install() -> None:
    code = """
import sys
sys.modules["tzdata"] = None
from cronkit_core import InvalidSchedule, parse_schedule
assert parse_schedule("@daily", "UTC").timezone == "UTC"
try:
    parse_schedule("@daily", "Europe/Berlin")
except InvalidSchedule as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONTZPATH": "", "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'Europe/Berlin': this host has no zone data: install the package tzdata" in done.stdout
