"""Plain words (docs/glossary.md, CONTRIBUTING.md): short sentences in docstrings, and one name for one thing.

Sentences are those of the docstrings that ship, help texts among them. What stands indented, in a table or in parentheses is not counted.
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
OLD_HABITS = ("it may be:", "what is no ", "of how many ")
"""Forms that readers had to read twice."""


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield getattr(node, "name", "the module"), inspect.cleandoc(text)


def sentences(text: str) -> Iterator[str]:
    """Those of the prose in it."""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not re.match(r"( {4}|\||[├└│])", line)]
        for item in re.split(r"\n(?=- )", "\n".join(lines)):
            prose = re.sub(r"\([^()]*\)", "", " ".join(item.split()))
            yield from re.split(r"(?<=[.!?])\s+", prose)


def faults(text: str) -> list[str]:
    """What is hard to read in it."""
    found = [each for each in sentences(text) if len(each.split()) > MOST_WORDS or each.count(";") > 1]
    return [*found, *(habit for habit in OLD_HABITS if habit in text)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_are_short(path: Path) -> None:
    hard = {name: faults(text) for name, text in docstrings(path)}
    assert not {name: found for name, found in hard.items() if found}


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
