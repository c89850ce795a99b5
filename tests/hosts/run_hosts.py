"""The tests of schedules, scheduler and storages on hosts of every kind: zones, zone data, Pythons.

run_hosts.py                       every zone with both kinds of zone data on one Python, and every
                                   Python in two zones; prints a table
run_hosts.py --all                 every one of them with every other
run_hosts.py --python 3.12 --zone Asia/Tokyo --data tzdata -- -k dst
run_hosts.py --write               put the table into docs/reliability.md

Each Python gets an environment of its own from uv.lock, outside the repository, which is kept for
the next time. What follows `--` is for pytest; paths among it replace the three folders.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KEPT = Path(tempfile.gettempdir(), "cronkit-hosts")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Those that the machine lacks are left out."""
ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca")
ODD = "Australia/Lord_Howe"
DATA = ("system", "tzdata")
FOLDERS = ("tests/schedules", "tests/core", "tests/storage")


@dataclass(frozen=True)
class Host:
    """A kind of host."""

    python: str
    zone: str
    data: str


@dataclass
class Came:
    """What came of the tests there."""

    host: Host
    tests: int
    failed: int
    skipped: int
    seconds: float

    def row(self) -> str:
        host = self.host
        passed = self.tests - self.failed - self.skipped
        cells = (host.python, host.zone, host.data, passed, self.failed, self.skipped)
        return f"| {' | '.join(map(str, cells))} | {self.seconds:.0f} s |"


HEAD = "| Python | TZ | zone data | passed | failed | skipped | time |\n" + "| --- " * 7 + "|"


def environment(own: Mapping[str, str], zone: str, data: str) -> dict[str, str]:
    """The variables `own`, in that zone, with that zone data: the system's, or the package's."""
    made = {key: value for key, value in own.items() if key != "PYTHONTZPATH"}
    made["TZ"] = zone
    if data == "tzdata":
        made["PYTHONTZPATH"] = ""
    return made


def main() -> int:
    options = _options()
    hosts = _hosts(options)
    pythons = {name: _install(name) for name in dict.fromkeys(host.python for host in hosts)}
    found = []
    print(HEAD, flush=True)
    for host in hosts:
        if (python := pythons[host.python]) is not None:
            found.append(_test(host, python, options.pytest))
            print(found[-1].row(), flush=True)
    for name in [name for name, python in pythons.items() if python is None]:
        print(f"no Python {name} here")
    if options.write:
        sys.path.insert(0, str(ROOT / "tests" / "chaos"))
        from chaos_docs import write

        write("hosts", ["just", "hosts", *sys.argv[1:]], [HEAD, *(came.row() for came in found)])
    return 1 if not found or any(came.failed for came in found) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="the whole matrix")
    parser.add_argument("--python", action="append", help="only this Python")
    parser.add_argument("--zone", action="append", help="only this zone of the host")
    parser.add_argument("--data", action="append", choices=DATA, help="only this zone data")
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    return parser.parse_args()


def _hosts(options: argparse.Namespace) -> list[Host]:
    pythons, zones = options.python or PYTHONS, options.zone or ZONES
    hosts = [Host(*host) for host in product(pythons, zones, options.data or DATA)]
    if options.all or options.python or options.zone or options.data:
        return hosts
    return [
        host
        for host in hosts
        if host.python == PYTHONS[0]
        or (host.zone, host.data) in (("UTC", "system"), (ODD, "tzdata"))
    ]


def _install(python: str) -> Path | None:
    """The interpreter of an environment for that Python; None where there is none to be had."""
    folder = KEPT / python
    found = subprocess.run(
        ["uv", "python", "find", "--no-project", "--no-python-downloads", python],
        capture_output=True,
        text=True,
        check=False,
        env=_own(),
    )
    if found.returncode != 0:
        return None
    command = ["uv", "sync", "--quiet", "--frozen", "--python", found.stdout.strip()]
    subprocess.run(
        command, cwd=ROOT, env={**_own(), "UV_PROJECT_ENVIRONMENT": str(folder)}, check=True
    )
    return folder / "bin" / "python"


def _test(host: Host, python: Path, arguments: list[str]) -> Came:
    paths = [] if any(Path(ROOT, word.split("::")[0]).exists() for word in arguments) else FOLDERS
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(
            [
                *(str(python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"),
                *(f"--junitxml={report}", *paths, *arguments),
            ],
            cwd=ROOT,
            env=environment(_own(), host.zone, host.data),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            print(f"{done.stdout[-8_000:]}{done.stderr[-2_000:]}", flush=True)
        if not report.exists():
            raise SystemExit(f"{host}: pytest ended with {done.returncode}")
        suites = list(ET.parse(report).getroot().iter("testsuite"))
    tests, failures, errors, skipped = (
        sum(int(suite.attrib[key]) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    )
    seconds = sum(float(suite.attrib["time"]) for suite in suites)
    return Came(host, tests, failures + errors, skipped, seconds)


def _own() -> dict[str, str]:
    hidden = ("VIRTUAL_ENV", "TZ", "PYTHONTZPATH", "UV_RUN_RECURSION_DEPTH")
    return {key: value for key, value in os.environ.items() if key not in hidden}


if __name__ == "__main__":
    raise SystemExit(main())
