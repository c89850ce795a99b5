"""Every Python sample of the documentation runs, and every `cronkit` command in it says what the
page says it does.

The names of a block carry over to the later blocks of the same page. A block with `>>>` is a
doctest; any other is executed (with a top-level `await` where it has one) and should assert what it
claims. A page runs in an empty directory of its own. In a ```console block, `$ cronkit ...` runs,
and must print the lines below it, where there are any.
"""

import ast
import asyncio
import doctest
import inspect
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from cronkit_core import cli

ROOT = Path(__file__).parent.parent
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if page.exists()
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str


def blocks(page: Path, language: str) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start(2)) + 1, found[1], found[2])
        for found in FENCE.finditer(text)
        if found[1] == language
    ]


def pages(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def run_doctest(block: Block, names: dict[str, object]) -> None:
    test = doctest.DocTestParser().get_doctest(
        block.text, names, block.page.name, str(block.page), block.line - 1
    )
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert not runner.failures, "".join(report)


def run_block(block: Block, names: dict[str, object], loop: asyncio.Runner) -> None:
    # As many empty lines before it as the page has, so that a traceback shows the page's line.
    source = "\n" * (block.line - 1) + block.text
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, str(block.page), "exec", flags=flags, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        loop.run(eval(code, names))
    else:
        exec(code, names)


@pytest.mark.parametrize("page", pages("python"), ids=lambda page: page.name)
def test_the_python_samples_run(page: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__sample__"}
    with asyncio.Runner() as loop:
        for block in blocks(page, "python"):
            if ">>>" in block.text:
                run_doctest(block, names)
            else:
                run_block(block, names, loop)


@pytest.mark.parametrize("page", pages("console"), ids=lambda page: page.name)
def test_the_commands_print_what_the_page_shows(page: Path, capsys) -> None:
    for block in blocks(page, "console"):
        for session in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, expected = session.partition("\n")
            words = shlex.split(command, comments=True)
            if words[0] == "cronkit":
                code = cli.main(words[1:])
                said = capsys.readouterr().out
                assert code == cli.OK
                assert not expected or said == expected, f"{page.name}:{block.line}: {command}"
