"""What an import costs beyond the bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from worker import Figures, main


async def import_time(statement: str, rounds: int = 15) -> Figures:
    """Milliseconds of wall time, a sample a pair of runs: with the statement, and without."""
    seconds(statement)  # the first one writes the bytecode
    pairs = [(seconds(statement), seconds("pass")) for _ in range(rounds)]
    bare = statistics.median(without for _, without in pairs)
    return {"beyond_ms": [(with_it - bare) * 1000 for with_it, _ in pairs]}


def seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(import_time)
