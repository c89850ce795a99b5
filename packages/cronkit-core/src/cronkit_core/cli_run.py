"""`cronkit run module:scheduler`: serve a scheduler that an application has made."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import logging
import sys
from functools import reduce
from typing import TYPE_CHECKING, Any

from .cli_common import LOCATION
from .errors import CronkitError

if TYPE_CHECKING:
    from .scheduler import Scheduler

LEVELS = ("debug", "info", "warning", "error")


def add_run_command(commands: Any) -> None:
    """Add the command to the sub-commands of an argument parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "run", help="run a scheduler until SIGINT or SIGTERM; a second signal hurries the shutdown"
    )
    command.add_argument("scheduler", metavar="MODULE:NAME", help=LOCATION)
    command.add_argument(
        "--log-level", choices=LEVELS, default="info", help="what to log (default: info)"
    )
    command.set_defaults(run=run_command)


def run_command(arguments: argparse.Namespace) -> int:
    """Run the scheduler that `arguments.scheduler` names; returns the exit code.

    Raises CronkitError when there is none.
    """
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    found = find(arguments.scheduler)
    asyncio.run(_serve(found, arguments.scheduler))
    return 0


async def _serve(found: Any, target: str) -> None:
    scheduler = await made(found, target)
    await scheduler.serve_forever()


async def made(found: Any, target: str) -> Scheduler:
    """The scheduler `found`, or the one that this function makes. Raises CronkitError when it is
    none."""
    from .scheduler import Scheduler

    if not isinstance(found, Scheduler) and callable(found):
        found = found()
        if inspect.isawaitable(found):
            found = await found
    if not isinstance(found, Scheduler):
        raise CronkitError(f"{target} is no Scheduler but a {type(found).__name__}")
    return found


def find(target: str) -> Any:
    """What MODULE:NAME names. Raises CronkitError when there is nothing of that name.

    No event loop may run: the module may use one while it is imported.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # what is in the current directory, as with `python -m`
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise CronkitError(f"bad scheduler {target!r}: MODULE:NAME, such as app:scheduler")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # what the module itself imports
        raise CronkitError(
            f"there is no module {error.name!r}: run this where Python finds it"
        ) from None
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise CronkitError(f"the module {module_name!r} has no {path!r}") from None
