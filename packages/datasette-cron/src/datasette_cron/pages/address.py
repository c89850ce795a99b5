"""The addresses of the pages.

`/-/cron/runs` and `/-/cron/new` are pages of their own. Tilde encoding leaves those words as they
are, but reads an escaped letter as well: a task of such a name has its page at `/-/cron/~72uns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datasette.utils import tilde_encode

if TYPE_CHECKING:
    from datasette.app import Datasette

ROOT = "/-/cron"
WORDS = frozenset(("runs", "new"))
"""Last parts of addresses that stand for something else than the task of that name."""


def tasks_path(datasette: Datasette) -> str:
    """Where all tasks are."""
    return str(datasette.urls.path(ROOT))


def task_path(datasette: Datasette, name: str, action: str = "") -> str:
    """Where the task of that name is, or what can be done to it, such as "edit"."""
    return _path(datasette, encoded(name), action)


def runs_path(datasette: Datasette) -> str:
    """Where the runs of all tasks are."""
    return _path(datasette, "runs")


def run_path(datasette: Datasette, run_id: int, action: str = "") -> str:
    """Where the run with that id is, or what can be done to it, such as "cancel"."""
    return _path(datasette, "runs", str(run_id), action)


def new_path(datasette: Datasette) -> str:
    """Where tasks are created."""
    return _path(datasette, "new")


def encoded(name: str) -> str:
    """The name of a task as a part of an address, never one of `WORDS`."""
    if name in WORDS:
        return f"~{ord(name[0]):02X}{name[1:]}"
    text: str = tilde_encode(name)
    return text


def _path(datasette: Datasette, *parts: str) -> str:
    return str(datasette.urls.path("/".join((ROOT, *filter(None, parts)))))
