"""The short form of `just hosts`: the same answers, to the byte, whatever the zone of the host and
wherever zone data comes from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zoneinfo
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from run_hosts import DATA, ZONES, environment

SCRIPT = Path(__file__).with_name("host_answers.py")


class Said(NamedTuple):
    host: dict[str, Any]
    lines: list[str]


def ask(where: tuple[str, str]) -> Said:
    """What a Python says whose host has that zone and that source of zone data."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT)],
        env=environment(os.environ, *where),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Said(json.loads(done.stderr), done.stdout.splitlines())


@pytest.fixture(scope="module")
def said() -> dict[tuple[str, str], Said]:
    if not any(Path(folder, "Europe/Berlin").exists() for folder in zoneinfo.TZPATH):
        pytest.skip("this system has no zone data of its own")
    pytest.importorskip("tzdata")
    # One host after the other would do; two at a time are done sooner.
    hosts = list(product(ZONES, DATA))
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(hosts, pool.map(ask, hosts), strict=True))


def test_every_host_gives_the_same_answers(said: dict[tuple[str, str], Said]) -> None:
    expected = said["UTC", "system"].lines
    assert len(expected) > 1_000
    for host, answers in said.items():
        differ = [pair for pair in zip(expected, answers.lines, strict=True) if len(set(pair)) > 1]
        assert not differ, (host, differ[:3])


def test_the_hosts_do_differ(said: dict[tuple[str, str], Said]) -> None:
    clocks = {zone: answers.host["clock"] for (zone, _), answers in said.items()}
    assert len(set(clocks.values())) == len(ZONES) - 1, clocks  # Casablanca had UTC in winter
    assert all(
        bool(answers.host["path"]) == (data == "system") for (_, data), answers in said.items()
    )
