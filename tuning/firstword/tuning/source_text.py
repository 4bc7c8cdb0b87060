"""Reads the text of a line of source for whoever reads a trace: from a file beside them, never from the trace.

After `firstword.tuning.start`. A trace is foreign input. So what it names is read only below one folder, and only from
Python files. It is shown only if the file still has that function on that line.
"""

from __future__ import annotations

import ast
import os
import stat
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from firstword.telemetry.source_lines import SourceLine

_MOST_BYTES = 2 * 2**20
_MOST_LETTERS = 100
_Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class SourceText:
    """Reads lines of the Python files below a folder."""

    def __init__(self, folder: Path, *, unchanged_since_ns: int | None = None) -> None:
        """unchanged_since_ns: ns since the Unix epoch; a file that was written later counts as changed. None: it never does."""
        self._folder = folder
        self._since_ns = unchanged_since_ns
        self._read = cache(self._content)

    def of(self, line: SourceLine) -> str | None:
        """Returns the text of the line, without blanks around it, cut to 100 letters.

        Returns None where the file is missing, changed, elsewhere or not Python.
        """
        content = self._read(line.file)
        if content is None or not line.function:
            return None
        lines, tree = content
        names = [part for part in line.function.split(".") if not part.startswith("<")]
        if line.line > len(lines) or names not in list(_functions_at(tree, line.line)):
            return None
        text = lines[line.line - 1].strip()
        return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"

    def tree(self, file: str) -> ast.Module | None:
        """Returns the syntax tree of a file; None where it is missing, changed, elsewhere, too large or not Python.

        Each file is read once.
        """
        content = self._read(file)
        return None if content is None else content[1]

    def _content(self, file: str) -> tuple[list[str], ast.Module] | None:
        """The lines of a file, and what Python makes of them."""
        try:
            path = self._below(file)
            text = None if path is None else self._text(path)
            if text is None:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # of lines as Python counts them: a form feed or a line separator inside of one ends none
                return text.split("\n"), ast.parse(text)
        # RuntimeError: a circle of links, before Python 3.13
        except (OSError, ValueError, SyntaxError, MemoryError, RuntimeError):
            return None

    def _below(self, file: str) -> Path | None:
        """Where the file is, links followed; None where that is outside of the folder, or no file of Python's."""
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file:
            return None
        found = (self._folder / path).resolve(strict=True)
        inside = found.is_relative_to(self._folder.resolve(strict=True))
        return found if inside and found.suffix == ".py" else None

    def _text(self, path: Path) -> str | None:
        # neither waits for a pipe nor follows what has become a link meanwhile
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as opened:
            found = os.fstat(opened.fileno())
            changed = self._since_ns is not None and found.st_mtime_ns > self._since_ns
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES or changed:
                return None
            return opened.read().decode("utf-8-sig").replace("\r\n", "\n")


def _functions_at(tree: ast.Module, line: int) -> Iterator[list[str]]:
    """The names of the functions and classes around a line; on the lines that introduce one, with it and without it."""
    names: list[str] = []
    body: ast.AST = tree
    while True:
        around = next((node for node in _named_in(body) if _first_line(node) <= line <= (node.end_lineno or 0)), None)
        if around is None or line < around.body[0].lineno:
            yield list(names)
        if around is None:
            return
        names.append(around.name)
        body = around
        if line < around.body[0].lineno:
            yield list(names)
            return


def _named_in(node: ast.AST) -> Iterator[_Named]:
    """The functions and classes that are defined in it, not in each other."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Named):
            yield child
        else:
            yield from _named_in(child)


def _first_line(node: _Named) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
