"""Bad input for whatever takes text, led by what code it reaches.

run_fuzz.py                                 a million inputs, shared out among the targets
run_fuzz.py --inputs 20000 --minutes 2      at most so many for all, and at most so long for each
run_fuzz.py --only rest --only spec         some targets
run_fuzz.py --write                         put the table into docs/reliability.md

Each target is driven by atheris in a process of its own, in an environment that uv makes for it and
keeps in its cache. Inputs that came to a bad end are printed, once for each place in the code; the
exit code says whether there were any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent / "chaos")]

PYTHON = "3.11"
"""The newest that every release of atheris has a wheel for."""
SHARES = {
    "schedule": 18,
    "rrule": 18,
    "calendar": 12,
    "crontab": 12,
    "spec": 14,
    "definition": 12,
    "config": 6,
    "name": 6,
    "rest": 2,
}
"""How many of a hundred inputs are for which target: a request takes as long as many texts."""
INPUTS = 1_000_000
LONGEST = 120
"""Words of an input."""
WILD = 0.3
"""How often libFuzzer changes an input in its own way; else a word or two of it are others."""
EVERY = 200
"""Inputs between two reports of a target's process."""


def main() -> int:
    options = _options()
    if options.child is not None:
        _child(options.child, Path(options.report), options.inputs, options.minutes * 60)
    names = options.only or list(SHARES)
    shares = sum(SHARES[name] for name in names)
    rows = []
    for name in names:
        inputs = options.inputs * SHARES[name] // shares
        rows.append(_drive(name, inputs, options.minutes))
        print(_row(rows[-1]), flush=True)
        for failure in rows[-1]["failures"]:
            print(f"\n{name}: {failure['input']!r:.2000}\n{failure['trace']}", flush=True)
    lines = [HEAD, *map(_row, rows), _row(_total(rows))]
    print("\n".join(["", *lines]))
    if options.write:
        from chaos_docs import write

        write("fuzz", ["just", "fuzz", *sys.argv[1:]], lines)
    return 1 if any(row["failures"] or row["died"] for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many for all targets")
    parser.add_argument("--minutes", type=float, default=120.0, help="at most, for each target")
    parser.add_argument("--only", action="append", choices=list(SHARES), help="a target")
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    parser.add_argument("--child", choices=list(SHARES), help=argparse.SUPPRESS)
    parser.add_argument("--report", help=argparse.SUPPRESS)
    return parser.parse_args()


class _Plain(argparse.RawDescriptionHelpFormatter):
    pass


HEAD = "| target | inputs | taken | refused | neither | inputs/s | slowest |\n" + "| --- " * 7 + "|"


def _row(row: dict[str, Any]) -> str:
    rate = row["inputs"] / max(row["seconds"], 1e-9)
    died = " (its process died)" if row["died"] else ""
    cells = (
        *(row["name"] + died, f"{row['inputs']:,}", f"{row['taken']:,}", f"{row['refused']:,}"),
        *(row["neither"], f"{rate:,.0f}", f"{row['slowest']:.2f} s"),
    )
    return f"| {' | '.join(map(str, cells))} |"


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    keys = ("inputs", "taken", "refused", "neither", "seconds")
    total: dict[str, Any] = {key: sum(row[key] for row in rows) for key in keys}
    slowest = max((row["slowest"] for row in rows), default=0.0)
    return {"name": "all", "died": False, "slowest": slowest, **total}


def _drive(name: str, inputs: int, minutes: float) -> dict[str, Any]:
    """What came of one target, whose process is started here."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        report = Path(folder, "report.json")
        command = [
            *("uv", "run", "--no-project", "--isolated", "--quiet", "--python", PYTHON),
            *("--with-editable", f"{ROOT}/packages/cronkit-core"),
            *("--with-editable", f"{ROOT}/packages/datasette-cron"),
            *("--with", "atheris", "python", str(Path(__file__).resolve())),
            *("--child", name, "--report", str(report)),
            *("--inputs", str(inputs), "--minutes", str(minutes)),
        ]
        done = subprocess.run(
            command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
        )
        if not report.exists():
            raise SystemExit(f"{name}: nothing was fed:\n{done.stderr[-4_000:]}")
        row: dict[str, Any] = json.loads(report.read_text())
        row["died"] = done.returncode != 0
        if row["died"]:
            print(done.stderr[-4_000:])
        return row


def _environment() -> dict[str, str]:
    hidden = ("VIRTUAL_ENV", "UV_RUN_RECURSION_DEPTH")
    return {key: value for key, value in os.environ.items() if key not in hidden}


def _child(name: str, report: Path, inputs: int, seconds: float) -> NoReturn:
    """Feed the target until there have been so many inputs, or so many seconds are over."""
    import atheris

    with atheris.instrument_imports(include=["cronkit_core", "datasette_cron"]):
        from fuzz_targets import TARGETS
    from fuzz_words import LONG, decode, encode, mutated

    if name == "rest":
        with atheris.instrument_imports(include=["datasette_cron"]):
            from fuzz_site import site_target
        site = site_target(report.parent)
        target = site.__enter__()  # its end is the end of the process
    else:
        target = TARGETS[name]
    tally = Tally(name, report, inputs, seconds)

    def feed(data: bytes) -> None:
        # What is very long is a matter of the suite: here it would only be slow.
        text = decode(data.replace(bytes([LONG]), b"\0"), target.words)
        tally.feed(target.feed, text)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < WILD:
            wild: bytes = atheris.Mutate(data, longest)
            return wild
        return mutated(data, len(target.words), chance)[:longest]

    corpus = report.parent / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(encode(seed, target.words))
    flags = [f"-max_len={LONGEST}", "-len_control=0", "-seed=1", "-rss_limit_mb=3000"]
    flags += ["-timeout=60", "-verbosity=0", str(corpus)]
    atheris.Setup([sys.argv[0], *flags], feed, custom_mutator=mutate)
    atheris.Fuzz()
    raise AssertionError("atheris does not come back")


class Tally:
    """What came of the inputs so far; it ends the process when there have been enough."""

    def __init__(self, name: str, report: Path, inputs: int, seconds: float) -> None:
        self.name = name
        self.report = report
        self.most = inputs
        self.began = time.monotonic()
        self.seconds = seconds
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0
        self.failures: dict[str, dict[str, str]] = {}

    def feed(self, target: Any, text: str) -> None:
        from fuzz_targets import bounded

        began = time.process_time()
        try:
            with bounded():
                answer = target(text)
        except BaseException as error:
            answer = "neither"
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} {last.filename}:{last.lineno}"
            known = self.failures.get(place)
            if known is None or len(text) < len(known["input"]):
                trace = "".join(traceback.format_exception(error)[-8:])
                self.failures[place] = {"input": text, "trace": trace}
        self.answers[answer] += 1
        self.slowest = max(self.slowest, time.process_time() - began)
        fed = self.answers.total()
        over = fed >= self.most or time.monotonic() - self.began > self.seconds
        if over or fed % EVERY == 0:
            self.write(fed)
        if over:
            os._exit(0)  # as libFuzzer ends itself

    def write(self, fed: int) -> None:
        row = {
            "name": self.name,
            "inputs": fed,
            **{key: self.answers[key] for key in ("taken", "refused", "neither")},
            "seconds": time.monotonic() - self.began,
            "slowest": self.slowest,
            "failures": list(self.failures.values()),
        }
        self.report.write_text(json.dumps(row))


if __name__ == "__main__":
    raise SystemExit(main())
