"""Draws public docstrings without their code, for a reader who is new to it: `python tools/docstrings.py SEED [COUNT] > FILE`.

The reader says of each what the thing does; who wrote it says how many are right.
"""

from __future__ import annotations

import ast
import inspect
import random
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_SIGNATURE = 200
"""Characters."""


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Each public class, function and method of a file that has a docstring: its name and signature, and the text."""

    def below(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, str]]:
        for child in node.body:
            if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith(
                "_"
            ):
                continue
            name = f"{prefix}.{child.name}"
            text = ast.get_docstring(child, clean=False)
            if text:
                yield name + ("" if isinstance(child, ast.ClassDef) else signature(child)), inspect.cleandoc(text)
            if isinstance(child, ast.ClassDef):
                yield from below(child, name)

    module = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
    yield from below(ast.parse(path.read_text(encoding="utf-8")), module)


def signature(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Parameters and result; without types where they would be longer than the docstring, as those of a command are."""
    parameters = ast.unparse(function.args)
    if len(parameters) > MOST_SIGNATURE:
        parameters = ", ".join(each.arg for each in (*function.args.args, *function.args.kwonlyargs))
    result = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"({parameters}){result}"


def drawn(seed: int, count: int) -> list[tuple[str, str]]:
    """So many of all that ship, the same for the same seed and source; sorted by name."""
    every = [each for path in sorted(ROOT.glob("*/firstword/**/*.py")) for each in docstrings(path)]
    return sorted(random.Random(seed).sample(every, count))  # a draw, no secret


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for number, (name, text) in enumerate(drawn(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 40), 1):
        print(f"{number}. {name}\n", *(f"    {line}\n" for line in text.splitlines()), sep="")
