"""Drives a live server from its own description, with requests that fit it and that do not.

    uv run python tests/adapter/run_schemathesis.py [--max-examples 50] [options of schemathesis]

Needs uvx, which puts schemathesis in an environment of its own for this one use. There are two
rounds: one with the description as it is, and one narrowed to names and schedules that there are,
to get past "not found".
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from live import Server, make_token

SCHEMATHESIS = "schemathesis>=4,<5"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]
OF_THE_WHOLE = ["negative_data_rejection", "unsupported_method"]
"""Have no meaning with a narrowed description, since what is left out there is not wrong."""

NAMES, HANDLERS = ("t", "u", "v"), ("ok", "fail", "hang")
RUNS = 3


def main(*options: str) -> int:
    token = make_token("ada")
    return max(drive(token, narrow, options) for narrow in (False, True))


def drive(token: str, narrow: bool, options: tuple[str, ...]) -> int:
    """One round; the exit code of schemathesis."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        for name, handler in zip(NAMES, HANDLERS, strict=True):
            wish = {"name": name, "handler": handler, "schedule": 3600, "config": {"token": "x"}}
            made = server.ask("POST", "/-/api/cron/tasks", wish, token=token)
            assert made.status == 201, made.text
            server.ask("POST", f"/-/api/cron/tasks/{name}/trigger", {}, token=token)
        description = server.ask("GET", "/-/api/cron/openapi.json", token=token).json
        checks = CHECKS if narrow else [*CHECKS, *OF_THE_WHOLE]
        file = Path(folder, "openapi.json")
        file.write_text(json.dumps(narrowed(description) if narrow else description))
        return subprocess.run(
            [
                *("uvx", "--from", SCHEMATHESIS, "schemathesis", "run", str(file)),
                *("--url", server.address, "--header", f"Authorization: Bearer {token}"),
                *("--checks", ",".join(checks), "--max-examples", "30", "--seed", "1"),
                *options,
            ],
            cwd=folder,
            check=False,
        ).returncode


def narrowed(description: dict[str, Any]) -> dict[str, Any]:
    """The description with names that there are, and without what deletes them."""
    paths = {}
    for path, item in description["paths"].items():
        if path.endswith("/delete"):
            continue
        item.pop("delete", None)
        for parameter in item.get("parameters", ()):
            known = NAMES if parameter["name"] == "name" else [str(i + 1) for i in range(RUNS)]
            parameter["schema"] = {"type": "string", "enum": list(known)}
        for operation in item.values():
            if isinstance(operation, dict) and "requestBody" in operation:
                content = operation["requestBody"]["content"]
                content.pop("application/x-www-form-urlencoded", None)
                properties = content["application/json"]["schema"].get("properties", {})
                if "handler" in properties:
                    properties["handler"] = {"type": "string", "enum": list(HANDLERS)}
                if "schedule" in properties:
                    properties["schedule"] = {"anyOf": [{"enum": ["@daily", "5 4 * * *"]}, SECONDS]}
                if "timezone" in properties:
                    properties["timezone"] = {"enum": [None, "UTC", "Europe/Berlin"]}
        paths[path] = item
    return {**description, "paths": paths}


SECONDS = {"type": "integer", "minimum": 1, "maximum": 10**6}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
