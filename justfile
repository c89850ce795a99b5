# Recipes of the project; `just` lists them.

set positional-arguments

# Where this is set, as in some containers, each process that a test starts compiles all anew.
export PYTHONDONTWRITEBYTECODE := ""

# list the recipes
[private]
default:
    @just --list --unsorted

# git keeps uv.lock as pins; `git add` of a lock with the same pins only refreshes git's idea of its size
[private]
setup:
    @if git rev-parse --git-dir >/dev/null 2>&1; then \
        git config filter.pins.clean "python3 .ci/pins.py"; \
        if git diff --quiet -- uv.lock; then git add uv.lock; fi; \
    fi

# the main job: a Datasette on port 8001 whose tasks tick
demo *args: setup
    uv run examples/demo/serve.py "$@"

# the demo with reload, for work on the code
dev *args: setup
    uv run examples/demo/serve.py --reload "$@"

# the test suite
test *args: setup
    uv run pytest -n auto "$@"

# lint, format and types
check: setup
    uv run ruff check
    uv run ruff format --check
    uv run mypy

# rewrite the code in the project's format
format: setup
    uv run ruff check --fix
    uv run ruff format

# lock the newest versions that the packages allow
lock *args: setup
    uv lock "$@"

# real clients: both wheels, datasette-alerts and datasette-libfec in an environment of their own
clients: setup
    uv run tests/clients/run_clients.py

# schedules with a million examples instead of thousands, 50,000 simulated histories, then `load`
soak *args: setup && (simulate "--first" "500" "--seeds" "50000") load
    CRONKIT_SOAK=1 uv run pytest --timeout 0 -n auto tests/schedules "$@"

# simulated histories with faults, from seeds: `--seeds 5000`, or `--seed 17 --trace` to see one again
simulate *args: setup
    uv run tests/simulation/soak.py "$@"

# real processes that are killed, frozen, cut off and set back, and a checker of what came of the slots
chaos *args: setup
    uv run tests/chaos/run_chaos.py "$@"

# the tests of schedules, scheduler and storages in five zones, with both kinds of zone data, on every Python
hosts *args: setup
    uv run tests/hosts/run_hosts.py "$@"

# bad input: a million texts, shared out among all that takes text; `--inputs 20000 --minutes 1` is short
fuzz *args: setup
    uv run tests/fuzz/run_fuzz.py "$@"

# 1,000 runs a second for ten minutes: whether anything grows; then with Datasette's pages and queries
load *args: setup
    uv run tests/chaos/run_load.py "$@"

# cronkit beside its peers, each in an environment of its own; `just bench --quick` is a short one
bench *args: setup
    uv run benchmarks/run.py "$@"

# build both packages into dist/, check them, and tag the commit; it uploads nothing
release version: setup
    uv run .ci/release.py {{version}}

# pictures of the pages for the documentation, into docs/images
screenshots *args: setup
    uv run tests/browser/screenshots.py "$@"

# how long the pages take with 10,000 tasks and 1,000,000 runs
big-pages *args: setup
    uv run tests/adapter/big_site.py "$@"
