"""`cron:snapshot`: copies of a database, in dated files."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasette.resources import DatabaseResource
from datasette.utils import tilde_encode

from cronkit_core import current_run
from cronkit_core.errors import InvalidTask

from .checks import Check, checked, required, text, whole
from .requirements import Actor, require

if TYPE_CHECKING:
    from datasette.app import Datasette
    from datasette.database import Database

NAME = "cron:snapshot"
WHAT = f"the config of {NAME}"
KEEP = 7
STEPS_BETWEEN_LOOKS = 10_000
TIME = "%Y%m%dT%H%M%S"


def file_name(key: str, value: object) -> str:
    """The beginning of the names of files."""
    name = text(key, value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.~+-]{0,99}", name):
        raise InvalidTask(
            f"bad {key} {name!r:.80}: up to 100 letters and digits, after the first any of _.~+-"
        )
    return name


CHECKS: Mapping[str, Check] = {
    "database": text,
    "keep": whole(1, 100_000),
    "name": file_name,
}


class Snapshot:
    """Copies a database to a dated file. Config: database; keep, how many files to keep (default
    7); name, with which the files' names begin (default: that of the database).

    Files are written to `directory`, and nowhere else: "<name>-20270101T030000Z.db", by the run's
    slot. Returns the `file`, its size in `bytes`, and which files were `deleted`.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    async def __call__(self, datasette: Datasette, config: dict[str, Any]) -> dict[str, Any]:
        directory, database, name, keep = self._read(datasette, config)
        slot = current_run().slot
        target = directory / f"{name}-{_written(slot)}Z.db"
        size = await _copy(database, target)
        deleted = await asyncio.to_thread(_prune, directory, name, keep, slot)
        return {"file": target.name, "bytes": size, "deleted": deleted}

    async def validate(self, datasette: Datasette, config: dict[str, Any]) -> None:
        """Raises InvalidTask for an unknown database, and where no directory is configured."""
        self._read(datasette, config)

    async def requires(self, datasette: Datasette, actor: Actor, config: dict[str, Any]) -> None:
        """The actor must be allowed to download the database. Raises Forbidden."""
        data = checked(config, CHECKS, WHAT)
        required(data, "database", WHAT)
        resource = DatabaseResource(data["database"])
        await require(datasette, actor, "view-database-download", resource)

    def _read(
        self, datasette: Datasette, config: Mapping[str, Any]
    ) -> tuple[Path, Database, str, int]:
        data = checked(config, CHECKS, WHAT)
        required(data, "database", WHAT)
        if self._directory is None:
            raise InvalidTask(
                f"{NAME} has no directory to write to: set plugins.datasette-cron."
                f"snapshot_directory in datasette.yaml"
            )
        database = datasette.databases.get(data["database"])
        if database is None or (database.is_memory and database.memory_name is None):
            raise InvalidTask(
                f"unknown database {data['database']!r}: name one that this Datasette serves"
            )
        name = data.get("name")
        if name is None:
            name = file_name("name", tilde_encode(data["database"]))
        return self._directory, database, name, data.get("keep", KEEP)


async def _copy(database: Database, target: Path) -> int:
    """Write what `database` holds now to `target`, whole or not at all; returns its size."""
    stopped = threading.Event()
    partial = target.with_name(f".{target.name}.partial")

    def cron_snapshot(conn: Any) -> int:
        partial.unlink(missing_ok=True)
        conn.set_progress_handler(stopped.is_set, STEPS_BETWEEN_LOOKS)
        try:
            conn.execute("VACUUM INTO ?", (str(partial),))
            _sync(partial)
            size = partial.stat().st_size
            if stopped.is_set():
                raise RuntimeError("the run was cancelled: no snapshot is kept")
            partial.replace(target)
            _sync(target.parent)
        finally:
            conn.set_progress_handler(None, 0)
            partial.unlink(missing_ok=True)
        return size

    try:
        if database.is_memory:  # its readers may write to no file either
            return await database.execute_write_fn(  # type: ignore[no-any-return]
                cron_snapshot, transaction=False
            )
        return await database.execute_fn(cron_snapshot)  # type: ignore[no-any-return]
    except asyncio.CancelledError:
        stopped.set()
        raise


def _sync(path: Path) -> None:
    """Have `path` survive a power cut."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _prune(directory: Path, name: str, keep: int, slot: datetime) -> list[str]:
    """Delete all but the newest `keep` snapshots of that name, and what killed processes left of
    earlier ones; returns the names of the snapshots."""
    pattern = re.compile(
        rf"(\.?){re.escape(name)}-(\d{{8}}T\d{{6}}(?:\.\d{{6}})?)Z\.db(\.partial)?"
    )
    found = []
    for path in directory.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None or bool(match[1]) != bool(match[3]):
            continue
        if not match[1]:
            found.append((match[2], path))
        elif match[2] < _written(slot):
            path.unlink(missing_ok=True)
    old = [path for _, path in sorted(found)[:-keep]]
    for path in old:
        path.unlink(missing_ok=True)
    return [path.name for path in old]


def _written(slot: datetime) -> str:
    fraction = f".{slot.microsecond:06d}" if slot.microsecond else ""
    return f"{slot:{TIME}}{fraction}"
