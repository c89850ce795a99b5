"""What users test with. Names load when they are asked for: the strategies need hypothesis
(`cronkit-core[testing]`), the storage contract needs pytest, and the rest nothing but the standard
library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import StorageContract
    from .oracle import (
        oracle_cron_next,
        oracle_rrule_next,
        reference_next_after,
        reference_slots,
    )
    from .strategies import (
        CRON_FEATURES,
        cron_expressions,
        instants,
        instants_near_transitions,
        intervals,
        rrules,
        schedules,
        timezones,
        unions,
    )
    from .task_strategies import policies, tasks
    from .virtual import VirtualClock, run_until, settle
    from .zones import Transition, interesting_zones, transitions

__all__ = [
    "CRON_FEATURES",
    "StorageContract",
    "Transition",
    "VirtualClock",
    "cron_expressions",
    "instants",
    "instants_near_transitions",
    "interesting_zones",
    "intervals",
    "oracle_cron_next",
    "oracle_rrule_next",
    "policies",
    "reference_next_after",
    "reference_slots",
    "rrules",
    "run_until",
    "schedules",
    "settle",
    "tasks",
    "timezones",
    "transitions",
    "unions",
]

_MODULES = {
    "CRON_FEATURES": "strategies",
    "StorageContract": "contract",
    "Transition": "zones",
    "VirtualClock": "virtual",
    "cron_expressions": "strategies",
    "instants": "strategies",
    "instants_near_transitions": "strategies",
    "interesting_zones": "zones",
    "intervals": "strategies",
    "oracle_cron_next": "oracle",
    "oracle_rrule_next": "oracle",
    "policies": "task_strategies",
    "reference_next_after": "oracle",
    "reference_slots": "oracle",
    "rrules": "strategies",
    "run_until": "virtual",
    "schedules": "strategies",
    "settle": "virtual",
    "tasks": "task_strategies",
    "timezones": "strategies",
    "transitions": "zones",
    "unions": "strategies",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
