"""What the handlers saw and did, as they would tell it themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from sim_loop import Process


@dataclass(slots=True)
class Entry:
    """One call of a handler."""

    run_id: int
    name: str
    slot: datetime
    attempt: int
    epoch: int
    node: str
    owner: str
    process: Process
    began: float
    token: str
    """What it returns when it ends well."""
    habit: str = ""
    logged: str = ""
    """What it wrote to the log of its run."""
    how: str | None = None
    """How it ended: "ok", or the name of an exception."""
    ended: float | None = None
    types: tuple[str, ...] = ()
    """The names of the exception's class and bases."""
    after: float | None = None
    final: bool = False
    lost_at: float | None = None
    """When another process took its run."""

    @property
    def took(self) -> float:
        """How many seconds it took; endless, while it goes on."""
        return inf if self.ended is None else self.ended - self.began

    @property
    def what(self) -> str:
        """What decides what the handler does; ids are the storage's own affair."""
        return f"{self.name} {self.slot.isoformat()} {self.attempt}"

    def __str__(self) -> str:
        return (
            f"run {self.run_id} of {self.name} on {self.node} from {self.began:.3f} "
            f"to {self.ended}: {self.how}"
        )


@dataclass
class Book:
    entries: dict[int, Entry] = field(default_factory=dict)
    stopped: dict[str, float] = field(default_factory=dict)
    """The owners that somebody stopped, and when."""

    def was_stopped(self, owner: str | None) -> bool:
        return owner in self.stopped
