"""The examples do what they say, as processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 60


class Process:
    """A process and the lines that it prints, each of which is looked at once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self._lines: Queue[str] = Queue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.said.append(line)
            self._lines.put(line)

    def wait_for(self, pattern: str) -> re.Match[str]:
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except Empty:
                raise AssertionError(f"no {pattern!r} in {''.join(self.said)}") from None
            if found := re.search(pattern, line):
                return found

    def say(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, number: int | None = None) -> str:
        """Everything that it said, once it has ended by itself or by the signal `number`."""
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self._listener.join()
        return "".join(self.said)


@contextmanager
def started(*command: str | Path, cwd: Path) -> Iterator[Process]:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        running = Process(process)
        try:
            yield running
        finally:
            process.kill()


def get(address: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(address, timeout=PATIENCE) as response:
        return json.load(response)


def test_the_script_goes_on_where_it_was(tmp_path: Path) -> None:
    script = EXAMPLES / "script.py"
    with started(script, cwd=tmp_path) as process:
        process.wait_for("heartbeat")
        process.wait_for("flaky, attempt 2")
        said = process.end(signal.SIGINT)
    assert "Traceback" not in said
    with started(script, "jobs.db", cwd=tmp_path) as process:
        process.wait_for("heartbeat")
        process.end(signal.SIGTERM)
    assert process.process.returncode == 0


def test_the_bot_remembers(tmp_path: Path) -> None:
    with started(EXAMPLES / "bot.py", cwd=tmp_path) as bot:
        bot.say("remind 0 9 * * MON-FRY | stand-up")
        bot.wait_for("bad day-of-week 'MON-FRY'")
        bot.say("remind 0 9 * * MON-FRI | stand-up")
        bot.wait_for("reminder 1: at 09:00 on Mondays to Fridays|reminder 1: ")
        bot.say("remind 1s | tea")
        bot.wait_for("remember: tea")
        bot.say("quit")
        assert "Traceback" not in bot.end()
    with started(EXAMPLES / "bot.py", cwd=tmp_path) as bot:
        bot.wait_for("remember: tea")
        bot.say("forget 2")
        bot.wait_for("forgotten")
        bot.say("list")
        bot.wait_for("1: stand-up")
        bot.say("quit")
        bot.end()


def test_the_service_answers_while_tasks_run(tmp_path: Path) -> None:
    command = ("-m", "uvicorn", "--app-dir", EXAMPLES, "--port", "0", "fastapi_service:app")
    with started(*command, cwd=tmp_path) as service:
        address = service.wait_for(r"running on (http://[\w.:]+)")[1]
        names = [task["name"] for task in get(f"{address}/tasks")]
        assert names == ["invoice", "refresh_rates"]
        request = urllib.request.Request(f"{address}/tasks/invoice/trigger", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            assert response.status == 202
        for name in names:
            while not any(
                run["status"] == "success" for run in get(f"{address}/tasks/{name}/runs")
            ):
                pass
        assert "Traceback" not in service.end(signal.SIGTERM)


def test_the_plugin_measures(tmp_path: Path) -> None:
    plugins = EXAMPLES / "datasette-plugin" / "plugins"
    options = ("--create", "--internal", "internal.db", "--plugins-dir", plugins, "--port", "0")
    with started("-m", "datasette", "feeds.db", *options, cwd=tmp_path) as site:
        address = site.wait_for(r"running on (http://[\w.:]+)")[1]
        while not get(f"{address}/feeds/sizes.json?_shape=array"):
            pass
        assert "Traceback" not in site.end(signal.SIGTERM)


def test_one_s_own_schedules(tmp_path: Path) -> None:
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "test_my_schedules.py")
    with started(*command, "-c", os.devnull, "--rootdir", tmp_path, cwd=tmp_path) as tests:
        assert "5 passed" in tests.end()
