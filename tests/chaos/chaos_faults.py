"""What is done to a cluster: each fault is a function that begins it, waits until it is felt, and
ends it; it answers whether it was felt. It is called when the processes are at work, again and
again."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
from chaos_clusters import LOOK_EVERY, Cluster, PostgresCluster, Worker, _File, wait_until

Fault = Callable[[Cluster, random.Random], bool]
FELT = 5.0
"""How many seconds are waited for somebody to feel a fault. Somebody who has nothing to do may feel
nothing."""


def busy(cluster: Cluster, choose: random.Random) -> tuple[int, bool]:
    """The number of a process that is in the middle of a handler, and True; if there is none for
    some time, that of any."""
    numbers = list(range(len(cluster.workers)))
    choose.shuffle(numbers)

    def at_work() -> list[int]:
        return [n for n in numbers if cluster.executing(cluster.workers[n].pid)]

    found = _felt("a process with a run", at_work)
    return (at_work() or numbers)[0], found


def _felt(what: str, condition: Callable[[], object]) -> bool:
    try:
        wait_until(what, condition, FELT)
    except TimeoutError:
        return False
    return True


# --- processes


def kill(cluster: Cluster, choose: random.Random) -> bool:
    """SIGKILL to a process that executes something; it is started again."""
    number, felt = busy(cluster, choose)
    cluster.kill([number])
    return felt


def kill_all(cluster: Cluster, choose: random.Random) -> bool:
    """SIGKILL to all processes at once; they are started again."""
    _, felt = busy(cluster, choose)
    cluster.kill(range(len(cluster.workers)))
    return felt


def freeze(cluster: Cluster, choose: random.Random) -> bool:
    """SIGSTOP to a process that executes something, until its lease is over and others have noticed
    that, then SIGCONT.

    Where it stands still in a transaction on a file, nobody else can write meanwhile."""
    worker = _stopped(cluster, choose)
    before = cluster.lost(worker.pid)
    began = time.monotonic()
    try:
        felt = _felt("what it had is lost", lambda: cluster.lost(worker.pid) > before)
        felt = felt or cluster.held_up()
        while time.monotonic() < began + 1.2 * cluster.lease:
            time.sleep(LOOK_EVERY)
    finally:
        worker.process.send_signal(signal.SIGCONT)
    return felt


def _stopped(cluster: Cluster, choose: random.Random) -> Worker:
    """A process that was stopped in the middle of a handler; or, after some tries, of anything."""
    tries = 20
    while True:
        worker = cluster.workers[busy(cluster, choose)[0]]
        process = psutil.Process(worker.pid)
        worker.process.send_signal(signal.SIGSTOP)
        wait_until("it stands still", lambda p=process: p.status() == psutil.STATUS_STOPPED)
        tries -= 1
        if cluster.executing(worker.pid) or tries <= 0:
            return worker
        worker.process.send_signal(signal.SIGCONT)  # it has just ended what it was at


# --- PostgreSQL


def stop_postgres(cluster: Cluster, choose: random.Random) -> bool:
    """The server is stopped, as by a crash or in good order, and started again."""
    assert isinstance(cluster, PostgresCluster)
    before = cluster.said("trying again")
    cluster.server.stop(choose.choice(("immediate", "fast")))
    try:
        return _felt("that the server is gone", lambda: cluster.said("trying again") > before)
    finally:
        cluster.server.start()


def cut_connections(cluster: Cluster, choose: random.Random) -> bool:
    """The server ends every connection of the processes."""
    assert isinstance(cluster, PostgresCluster)
    cut = cluster.server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cronkit'"
    )
    return len(cut) > 0


# --- files


@contextmanager
def small_disk(folder: Path, megabytes: int = 24) -> Iterator[Path | None]:
    """A file system of that size at `folder`, or None where we may not mount one."""
    folder.mkdir()
    options = f"size={megabytes}m"
    if os.geteuid() != 0 or not shutil.which("mount"):
        yield None
        return
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill_disk(cluster: Cluster, choose: random.Random) -> bool:
    """The disk is filled to the last byte until processes feel it, and then there is room again."""
    assert isinstance(cluster, _File)
    before = cluster.said("disk is full")
    ballast = cluster.file.parent / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
        return _felt("that the disk is full", lambda: cluster.said("disk is full") > before)
    finally:
        ballast.unlink()


def may_be_immutable(folder: Path) -> bool:
    """Whether files in `folder` can be made such that not even root can write them."""
    probe = folder / "immutable"
    probe.touch()
    try:
        return _immutable(True, probe) and _immutable(False, probe)
    finally:
        probe.unlink()


def make_read_only(cluster: Cluster, choose: random.Random) -> bool:
    """The database cannot be written, not even by root, until processes feel it."""
    assert isinstance(cluster, _File)
    # Not the index of the WAL: it is mapped into memory, and a write to it would be a crash.
    files = (cluster.file, cluster.file.with_name(cluster.file.name + "-wal"))
    before = cluster.said("trying again")
    try:
        for file in files:
            if file.exists():
                _immutable(True, file)
        return _felt("that nothing can be written", lambda: cluster.said("trying again") > before)
    finally:
        for file in files:
            if file.exists():
                _immutable(False, file)


def _immutable(wanted: bool, file: Path) -> bool:
    if not shutil.which("chattr"):
        return False
    sign = "+i" if wanted else "-i"
    done = subprocess.run(["chattr", sign, file], capture_output=True, check=False)
    return done.returncode == 0


# --- the clock


class Clock:
    """The wall clock of processes, which can be stepped while they run."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    def set(self, seconds: float) -> None:
        """Let the clock be so far from the real one from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+}\n")
        new.replace(self._file)

    def environment(self) -> dict[str, str]:
        """What makes a process live by this clock."""
        shown = subprocess.run(
            ["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=True
        ).stdout
        [library] = [line for line in shown.splitlines() if line.startswith("LD_PRELOAD=")]
        # Not the library for threads, libfaketimeMT: with it, 0.9.10 makes each wait of one thread
        # for another 10 ms longer.
        return {
            "LD_PRELOAD": library.partition("=")[2],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


def step_clock(clock: Clock) -> Fault:
    """A fault that steps the wall clock of all processes, forward and back in turn, by more than a
    lease."""

    def step(cluster: Cluster, choose: random.Random) -> bool:
        seconds = 2 * cluster.lease
        if cluster.offset:
            seconds = 0.0
        _, felt = busy(cluster, choose)
        clock.set(seconds)
        cluster.offset = timedelta(seconds=seconds)
        return felt

    return step
