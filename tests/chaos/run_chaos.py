"""Real processes on one storage, and what can happen to them.

run_chaos.py                        every fault, on every storage that has it; prints a table
run_chaos.py --only kill --json     one fault, as JSON
run_chaos.py --write                put the table into docs/reliability.md
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import chaos_docs  # noqa: E402
import chaos_faults as faults  # noqa: E402
from chaos_check import Named, Verdict, check  # noqa: E402
from chaos_clusters import (  # noqa: E402
    Cluster,
    DatasetteCluster,
    PostgresCluster,
    SQLiteCluster,
    Wish,
    wait_until,
)

from postgres_fixture import Server, new_folder  # noqa: E402

KINDS = {"sqlite": SQLiteCluster, "datasette": DatasetteCluster, "postgres": PostgresCluster}
FAULTS = {
    "kill": faults.kill,
    "kill all": faults.kill_all,
    "freeze": faults.freeze,
    "full disk": faults.fill_disk,
    "read-only file": faults.make_read_only,
    "clock step": None,
    "server stop": faults.stop_postgres,
    "connections cut": faults.cut_connections,
}
NOT_ON = {
    "sqlite": {"server stop", "connections cut"},
    "datasette": {"server stop", "connections cut"},
    "postgres": {"full disk", "read-only file"},
}
PROCESSES = {"sqlite": 8, "datasette": 3, "postgres": 8}
RETRY = {"max_retries": 50, "backoff": "constant", "base": 0.1}
RESTS = 10
"""How many handlers must have ended between two faults."""


@dataclass
class Report:
    """What came of some faults."""

    storage: str
    fault: str
    processes: int
    times: int = 0
    felt: int = 0
    """How many of these times the processes did feel it; of the others it is not known."""
    recovery: list[float] = field(default_factory=list)
    """Seconds after the end of each until all that had come due had an outcome."""
    verdict: Verdict = field(default_factory=Verdict)
    deaths: list[str] = field(default_factory=list)
    """Processes that ended by themselves."""

    @property
    def fine(self) -> bool:
        return self.verdict.fine and not self.deaths and self.felt > 0

    def __str__(self) -> str:
        what = f"{self.storage}, {self.fault} ({self.times} times, {self.felt} of them felt)"
        return "\n".join([f"{what}: {self.verdict}", *self.deaths])

    def row(self) -> str:
        times = sorted(self.recovery)
        median, longest = (times[len(times) // 2], times[-1]) if times else (0.0, 0.0)
        cells = (
            *(self.storage, self.processes, self.fault, self.times, self.verdict.due),
            *(len(self.verdict.lost), len(self.verdict.doubled), self.verdict.lost_attempts),
            *(f"{median:.1f} s", f"{longest:.1f} s"),
        )
        return f"| {' | '.join(map(str, cells))} |"


HEAD = (
    "| storage | processes | fault | times | slots due | lost | doubled | attempts lost "
    "| recovery, median | longest |\n" + "| --- " * 10 + "|"
)


def wishes(end: datetime, anchor: datetime) -> list[Wish]:
    """Tasks of many kinds, with a slot every moment until `end`."""

    def wish(name: str, handler: str, every: float, **options: Any) -> Wish:
        return {
            "name": name,
            "handler": handler,
            "schedule": {"interval": every, "anchor": anchor.isoformat()},
            "end_at": end.isoformat(),
            "retry": RETRY,
            **options,
        }

    each = {"overlap": "allow", "catch_up": "all", "catch_up_limit": 10_000}
    return [
        *(wish(f"quick {n}", "quick", 0.25, **each) for n in range(4)),
        *(wish(f"slow {n}", "slow", 0.5, **each) for n in range(2)),
        wish("sync", "sync", 0.5, **each),
        wish("grouped", "quick", 0.5, group="g", priority=5, **each),
        wish("skip", "slow", 0.2),
        wish("queue", "quick", 0.2, overlap="queue"),
        wish("latest", "quick", 0.25, overlap="allow"),
        wish("strict", "quick", 0.25, overlap="allow", catch_up="skip", grace=0.5),
    ]


def torture(cluster: Cluster, report: Report, fault: faults.Fault, seconds: float) -> None:
    """Do `fault` to a cluster whose processes are up, again and again for `seconds`; then look
    what became of the slots."""
    choose = random.Random(report.fault)
    began = datetime.now(UTC)
    anchor = began.replace(microsecond=0)
    end = anchor + timedelta(seconds=seconds, milliseconds=333)
    asked = wishes(end, anchor)
    cluster.declare(asked)

    def ended() -> int:
        cluster.watch()
        return sum(line.what == "end" for line in cluster.lines())

    seen = 0
    while not report.times or cluster.now() < end:
        wait_until(
            "handlers at work",
            lambda goal=seen + RESTS: ended() >= goal or (report.times and cluster.now() >= end),
        )
        report.felt += fault(cluster, choose)
        report.times += 1
        healed, due = time.monotonic(), min(cluster.now(), end)
        wait_until("the slots that came due", lambda due=due: ended() and not cluster.owed(due))
        report.recovery.append(time.monotonic() - healed)
        seen = ended()
    wait_until("the end", lambda: ended() and cluster.now() > end and not cluster.owed(end))
    cluster.wait_ready()
    cluster.stop()
    since = cluster.since()
    named = [
        Named(
            wish["name"],
            anchor,
            timedelta(seconds=wish["schedule"]["interval"]),
            since[wish["name"]],
            end,
        )
        for wish in asked
    ]
    report.verdict = check(named, cluster.runs(), cluster.skips(), cluster.lines())
    report.deaths = cluster.deaths


class Lacking(Exception):
    """This machine has not what a fault needs; the first argument says what."""


@contextmanager
def cluster_for(
    storage: str, fault: str, count: int, lease: float, folder: Path, server: Server | None
) -> Iterator[tuple[Cluster, faults.Fault]]:
    """Processes that are up, and the fault to do to them. Raises Lacking."""
    with ExitStack() as stack:
        options: dict[str, Any] = {"lease": lease}
        inject = FAULTS[fault]
        if fault == "full disk":
            options["disk"] = stack.enter_context(faults.small_disk(folder / "disk"))
            if options["disk"] is None:
                raise Lacking("tmpfs")
        if fault == "read-only file" and not faults.may_be_immutable(folder):
            raise Lacking("chattr")
        if fault == "clock step":
            if not shutil.which("faketime"):
                raise Lacking("faketime")
            clock = faults.Clock(folder)
            options["environment"] = clock.environment()
            inject = faults.step_clock(clock)
        if storage == "postgres":
            options |= {"server": server, "schema": f"chaos_{secrets.token_hex(4)}"}
        assert inject is not None
        yield stack.enter_context(KINDS[storage](folder, count, **options)), inject


def play(
    storage: str,
    fault: str,
    *,
    processes: int,
    seconds: float,
    lease: float,
    folder: Path,
    server: Server | None = None,
) -> Report:
    """Some processes on one storage, the fault done to them for `seconds`, and what came of it.

    A fault that is felt longer than that is done once all the same. Raises Lacking.
    """
    report = Report(storage, fault, processes)
    with cluster_for(storage, fault, processes, lease, folder, server) as (cluster, inject):
        torture(cluster, report, inject, seconds)
    return report


@contextmanager
def own_postgres() -> Iterator[Server]:
    server = Server(new_folder(f"chaos-{os.getpid()}"))
    server.create()
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        server.remove()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="for each fault; default 15")
    parser.add_argument(
        "--lease", type=float, default=3.0, help="of the processes, seconds; default 3"
    )
    parser.add_argument("--processes", type=int, help="how many; default 8, of Datasette 3")
    parser.add_argument("--storage", choices=KINDS, action="append", help="only this one")
    parser.add_argument("--only", choices=FAULTS, action="append", help="only this fault")
    parser.add_argument("--json", action="store_true", help="print JSON lines, not a table")
    parser.add_argument("--write", action="store_true", help="write the table to the docs too")
    options = parser.parse_args()
    print("" if options.json else HEAD, end="" if options.json else "\n", flush=True)
    reports = []
    with ExitStack() as stack:
        server = None
        for storage in options.storage or KINDS:
            if storage == "postgres":
                server = stack.enter_context(own_postgres())
            for fault in options.only or FAULTS:
                if fault in NOT_ON[storage]:
                    continue
                with tempfile.TemporaryDirectory(prefix="cronkit-chaos-") as folder:
                    try:
                        report = play(
                            storage,
                            fault,
                            processes=options.processes or PROCESSES[storage],
                            seconds=options.seconds,
                            lease=options.lease,
                            folder=Path(folder),
                            server=server,
                        )
                    except Lacking as lacking:
                        print(f"{storage}, {fault}: needs {lacking}", file=sys.stderr)
                        continue
                reports.append(report)
                print(json.dumps(asdict(report)) if options.json else report.row(), flush=True)
                if not report.fine:
                    print(report, file=sys.stderr, flush=True)
    if options.write:
        rows = [report.row() for report in reports]
        chaos_docs.write("chaos", ["just", "chaos", *sys.argv[1:]], [HEAD, *rows])
    return 0 if all(report.fine for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
