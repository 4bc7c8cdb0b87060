"""Plain words (docs/glossary.md, CONTRIBUTING.md): short sentences, and one name for one thing.

Sentences are those of docstrings, help texts, errors and log lines that ship, and of pages. What stands indented, in a table, in code or
in parentheses is not counted.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(ROOT.glob("*/firstword/**/*.py"))
MOST_WORDS = 25
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OLD_HABITS = ("it may be:", "what is no ", "of how many ")
"""Forms that readers had to read twice."""


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield getattr(node, "name", "the module"), inspect.cleandoc(text)


SAYS = frozenset(
    ["debug", "info", "warning", "error", "exception", "critical", "fail", "warn", "tell", "say", "say_text"]
)
"""Functions and methods whose texts people read: of loggers, and of the command line."""
HELP = frozenset({"help", "description", "epilog"})


def messages(tree: ast.Module) -> Iterator[str]:
    """The texts of errors, log lines and help in a module; `X` stands for what is put in."""
    for node in ast.walk(tree):
        arguments: list[ast.expr] = []
        match node:
            case ast.Raise(exc=ast.Call(args=args)):
                arguments = args
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=args, keywords=keywords):
                helps = [keyword.value for keyword in keywords if keyword.arg in HELP]
                arguments = [*(args if name in SAYS else []), *helps]
            case _:
                pass
        for argument in arguments:
            branches = (argument.body, argument.orelse) if isinstance(argument, ast.IfExp) else (argument,)
            yield from filter(None, map(written, branches))


def written(node: ast.expr) -> str:
    """A text as it stands in the source, formatted or not; empty for any other expression."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(written(value) if isinstance(value, ast.Constant) else "X" for value in values)
        case _:
            return ""


def prose_of(page: str) -> str:
    """A page without code, tables, headings and the addresses of links; an item of a list is a paragraph."""
    page = re.sub(r"(?ms)^\s*```.*?^\s*```\s*$", "", page)
    page = re.sub(r"(?m)^\s*(\||#).*$", "\n", page)
    page = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", page)
    return re.sub(r"\n\s*(?=(-|\d+\.) )", "\n\n", page)


def sentences(text: str) -> Iterator[str]:
    """Those of the prose in it."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not re.match(r"( {4}|\||[├└│])", line)]
        for item in re.split(r"\n(?=- )", "\n".join(lines)):
            prose = re.sub(r"\([^()]*\)", "", " ".join(item.split()))
            yield from re.split(r"(?<=[.!?])\s+|; (?=expected|possible cause)", prose)


def faults(text: str) -> list[str]:
    """What is hard to read in it."""
    found = [each for each in sentences(text) if len(each.split()) > MOST_WORDS or each.count(";") > 1]
    return [*found, *(habit for habit in OLD_HABITS if habit in text)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_are_short(path: Path) -> None:
    hard = {name: faults(text) for name, text in docstrings(path)}
    assert not {name: found for name, found in hard.items() if found}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_are_short(path: Path) -> None:
    """Errors, log lines and help texts."""
    hard = [fault for text in messages(ast.parse(path.read_text(encoding="utf-8"))) for fault in faults(text)]
    assert not hard


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_are_short(path: Path) -> None:
    """No sentence that has to be read twice."""
    hard = faults(prose_of(path.read_text(encoding="utf-8")))
    assert not hard


def test_messages_are_found() -> None:
    """Of every kind, also in a text of parts and on either side of a choice."""
    source = """
raise ValueError(f"{name} is wrong; expected a number; possible cause: a blank")
logger.warning("%s is slow", name)
option(help="how " "long")
fail("one" if bad else "two")
other("not shown")
"""
    texts = list(messages(ast.parse(source)))
    assert sorted(texts) == [
        "%s is slow",
        "X is wrong; expected a number; possible cause: a blank",
        "how long",
        "one",
        "two",
    ]
    assert not any(map(faults, texts))


def test_a_page_is_prose_without_code_and_tables() -> None:
    page = "# Head\nSee [this](https://x).\n\n| a | b |\n\n```\ncode\n```\n- one\n- two"
    assert [each for each in sentences(prose_of(page)) if each] == ["See this.", "- one", "- two"]


def test_what_is_hard_to_read_is_found() -> None:
    long = " ".join(["word"] * (MOST_WORDS + 1)) + "."
    assert faults(f"Short.\n\n{long} Short again.") == [long]
    assert faults("One; two; three.") == ["One; two; three."]
    assert faults(f"Short (Anon, 1999, {long[:-1]}).\n\n    indented {long}") == []
    assert faults("It fails; it may be: a proxy.") == ["it may be:"]


def test_a_name_is_of_one_thing() -> None:
    """No two public classes share a name: who reads it knows which is meant."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in SHIPPED:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert not {name: where for name, where in places.items() if len(where) > 1}
