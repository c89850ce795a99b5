"""Start a Datasette whose tasks measure this machine.

    uv run examples/demo/serve.py [--port 8001] [--reload]

The databases, demo.db and demo-internal.db, are made in the current directory. Stop it with Ctrl-C
and start it again: tasks, pauses and history are still there.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description="A Datasette whose tasks measure this machine.")
    parser.add_argument("--port", type=int, default=8001, help="default: 8001")
    parser.add_argument(
        "--reload", action="store_true", help="start again when the code of the packages changes"
    )
    options = parser.parse_args()
    check_port(options.port)
    print_where_to_look(options.port)
    command = ["serve", "demo.db", "--create", "--internal", "demo-internal.db"]
    command += ["--plugins-dir", str(HERE / "plugins"), "--config", str(HERE / "datasette.yaml")]
    command += ["--port", str(options.port)]
    if options.reload:
        command.append("--reload")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "datasette", *command])


def check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            sys.exit(f"port {port} cannot be used ({error}): choose another with --port")


def print_where_to_look(port: int) -> None:
    site = f"http://127.0.0.1:{port}"
    print(f"""
    {site}/-/cron                                  the tasks
    {site}/demo/measurements?_sort_desc=at         a row each second
    {site}/demo/minutes?_sort_desc=minute          a row each minute
    {site}/-/api/cron/tasks/demo:measure/runs      what ran, as JSON
    {site}/-/api/cron/tasks/demo:flaky/runs        what failed, and was retried

    No page needs to be open for tasks to run. The configuration of this demo lets everybody who
    reaches the port see and control the tasks, without a login; a real one names who may:
    {HERE / "datasette.yaml"}
""")


if __name__ == "__main__":
    main()
