"""Reduce uv.lock, read from standard input, to pins: package names and versions.

This is git's clean filter for uv.lock (see .gitattributes). What it removes, uv fills in again on
the machine that locks: addresses, hashes, and the `requires-dist` lists whose absence makes uv lock
anew while it keeps the pinned versions.
"""

import re
import sys


def pins(text: str) -> str:
    text = re.sub(r'registry = "[^"]*"', 'registry = "pypi"', text)
    text = re.sub(r"^sdist = \{.*\}\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^wheels = \[\n(?:.*\n)*?\]\n", "", text, flags=re.MULTILINE)
    return re.sub(
        r"^requires-dist = \[(?:\n(?:.*\n)*?|.+)\]\n",
        "requires-dist = []\n",
        text,
        flags=re.MULTILINE,
    )


if __name__ == "__main__":
    sys.stdout.write(pins(sys.stdin.read()))
