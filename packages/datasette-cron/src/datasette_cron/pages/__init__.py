"""The HTML pages under /-/cron, as routes.py lists them."""

from __future__ import annotations

from .actions import ask_delete, backfill, delete, pause, resume, run_now
from .dashboard import index
from .form import create, edit, new, update
from .run import cancel, run
from .runs import runs
from .task import task

__all__ = [
    "ask_delete",
    "backfill",
    "cancel",
    "create",
    "delete",
    "edit",
    "index",
    "new",
    "pause",
    "resume",
    "run",
    "run_now",
    "runs",
    "task",
    "update",
]
