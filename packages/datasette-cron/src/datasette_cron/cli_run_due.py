"""`datasette cron run-due`: a Datasette that executes what is due, once, and serves nobody."""

from __future__ import annotations

import functools
from typing import Any

import click
from datasette.app import Datasette
from datasette.utils import BadMetadataError, StartupError

from .cli_output import BAD_NEWS, OK, Answer, Refused, answered, run_data, run_table
from .run_due import run_due

SERVE_OPTIONS = (
    "files",
    "immutable",
    "sqlite_extensions",
    "metadata",
    "plugins_dir",
    "memory",
    "config",
    "settings",
    "secret",
    "create",
    "crossdb",
    "nolock",
    "internal",
)
"""The options of `datasette serve` that are those of `run-due`, too."""


def run_due_command(serve: click.Command) -> click.Command:
    """The command, given that of Datasette which serves."""
    return click.Command(
        "run-due",
        params=[
            *(option for option in serve.params if option.name in SERVE_OPTIONS),
            click.Option(["--timeout"], type=click.FloatRange(0), help="Seconds; then cancel"),
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON"),
        ],
        callback=functools.partial(_run_due, serve),
        help=_run_due.__doc__,
    )


def _run_due(serve: click.Command, timeout: float | None, as_json: bool, **options: Any) -> None:
    """Execute what is due, once, and exit: for hosts without a long-lived process.

    The files and options are those of `datasette serve`; --internal is needed. Retries that are due
    later are left for the next time. The exit code is 1 when a run failed.
    """
    if options["internal"] is None:
        raise click.UsageError("which internal database? Name its file with --internal")
    # Datasette's own way to make of options what `serve` would serve.
    defaults = serve.make_context("serve", []).params
    try:
        datasette = serve.callback(**{**defaults, **options}, return_instance=True)  # type: ignore[misc]
    except (BadMetadataError, click.ClickException) as error:
        raise Refused(str(error)) from None
    answered(_execute(datasette, timeout)).print(as_json=as_json)


async def _execute(datasette: Datasette, timeout: float | None) -> Answer:
    try:
        await datasette.invoke_startup()
        report = await run_due(datasette._cron_scheduler, timeout)
    except StartupError as error:
        raise Refused(str(error)) from None
    finally:
        await datasette.invoke_shutdown()
    lines = run_table(report.runs) if report.runs else ["Nothing was due."]
    if report.late:
        lines.append(f"not all of it ended within {timeout:g} s")
    data = {"runs": [run_data(run) for run in report.runs], "timed_out": report.late}
    return Answer(data, lines, OK if report.ok else BAD_NEWS)
