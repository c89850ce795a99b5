"""What the handlers of the chaos tests do, in whatever process: each writes down when it starts and
how it ends, in one file that all processes append to.

A line is JSON: [what, task, slot, attempt, epoch, pid, time], `what` being "start", "end", or "cut"
for a handler that was cancelled; the time is that of the machine's monotonic clock, which all
processes share, and which nobody steps.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cronkit_core import current_run

_file = os.open(os.environ["CHAOS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
LINE = "a line of the run's log, of which a disk fills up. " * 10


def _write(what: str) -> None:
    run = current_run()
    fields = (what, run.task.name, run.slot.isoformat(), run.attempt, run.epoch, os.getpid())
    os.write(_file, json.dumps([*fields, time.monotonic()]).encode() + b"\n")


@contextmanager
def written() -> Iterator[None]:
    _write("start")
    try:
        yield
    except BaseException:
        _write("cut")
        raise
    _write("end")


async def quick(*_: object) -> None:
    with written():
        current_run().log(LINE)


async def slow(*_: object) -> None:
    with written():
        current_run().log(LINE)
        await asyncio.sleep(0.5)


def sync(*_: object) -> None:
    with written():
        select.select([], [], [], 0.05)  # time.sleep fails where libfaketime 0.9.10 sets the clock


async def idle(*_: object) -> None:
    """For load: nothing but the scheduler's own work."""


HANDLERS = {"quick": quick, "slow": slow, "sync": sync, "idle": idle}
