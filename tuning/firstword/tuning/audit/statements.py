"""What a line of the agent's source says: the statement, its calls and names, and which statement led to it.

After `firstword.tuning.source_text`, for the rules of `firstword.tuning.audit`. It reads; nothing of the agent is run. Names are followed
within one function, and calls within one file. What is more involved is not known, and so nothing is offered for it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from firstword.telemetry.source_lines import SourceLine
from firstword.tuning.source_text import SourceText

_MOST_CALLERS = 16
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of the agent's source: where it stands, and what it calls, imports, reads and defines.

    A statement with a block, such as `if`, is only the part before the block.
    """

    file: str
    line: int
    end_line: int
    function: str
    """The name of the function around it; empty at the top of the file."""
    calls: tuple[str, ...]
    """Dotted names of what it calls: `session.start`, `silero.VAD.load`. Where the whole has no plain name, the last part."""
    keywords: frozenset[str]
    """Names of the keyword arguments of its calls."""
    imports: tuple[str, ...]
    """Modules that it imports."""
    uses: frozenset[str]
    """Names that it reads, and attributes with dots: `ctx`, `ctx.room`."""
    defines: frozenset[str]

    def calls_any(self, *ends: str) -> bool:
        """Returns whether it calls something whose dotted name, as it is written, is one of these, or ends in one of
        them after a dot. Calls in its block don't count.
        """
        return any(call == end or call.endswith(f".{end}") for call in self.calls for end in ends)


class AgentSource:
    """The Python files of an agent below one folder, read as statements."""

    def __init__(self, text: SourceText, file: str) -> None:
        """file: the one that was started, relative to the folder of `text`."""
        self._text = text
        self._file = file
        self._statements = cache(self._read)

    def text(self, line: SourceLine) -> str | None:
        """Returns the text of a line, for people to read; None where it can't be shown."""
        return self._text.of(line)

    def statement(self, line: SourceLine | None) -> Statement | None:
        """Returns the innermost statement at a line; None where the file can't be read, or has none there."""
        if line is None:
            return None
        around = [each for each in self._statements(line.file) if each.line <= line.line <= each.end_line]
        return min(around, key=lambda each: (each.end_line - each.line, -each.line), default=None)

    def leading_to(self, line: SourceLine | None) -> Statement | None:
        """Returns the statement of the outermost function that led to a line, such as one of the entrypoint.

        Goes from each function to the one statement that calls it, within the started file. Stops where there is none,
        or more than one.
        """
        found = self.statement(line)
        for _ in range(_MOST_CALLERS):
            if found is None or not found.function:
                return found
            callers = self._calling(found.function)
            if len(callers) != 1:
                return found
            found = callers[0]
        return found

    def origin(self, statement: Statement, *, making_room: tuple[str, ...]) -> Statement | None:
        """Returns the last statement before it whose result it uses, also through plain assignments; None for none.

        making_room: calls that make the room. A statement that reads an attribute `room` needs them.
        """
        names = set(statement.uses)
        uses_room = any("room" in name.split(".")[1:] for name in names)
        before = [
            each
            for each in self._statements(statement.file)
            if each.function == statement.function and each.end_line < statement.line
        ]
        for each in reversed(before):
            if uses_room and each.calls_any(*making_room):
                return each
            if names & each.defines:
                if each.calls:
                    return each
                names |= each.uses
        return None

    def following(self, statement: Statement) -> list[Statement]:
        """Returns the statements behind it in the same function."""
        return [
            each
            for each in self._statements(statement.file)
            if each.function == statement.function and each.line > statement.end_line
        ]

    def mentions(self, attribute: str) -> bool:
        """Returns whether the file that was started reads an attribute of that name anywhere."""
        return any(attribute in name.split(".")[1:] for each in self._statements(self._file) for name in each.uses)

    def has_function(self, qualified_name: str) -> bool:
        """Returns whether the file that was started defines a function of that name. Only the last part of a dotted name counts."""
        name = qualified_name.rpartition(".")[2]
        return any(each.function == name for each in self._statements(self._file))

    def _calling(self, function: str) -> list[Statement]:
        """The statements of the started file that call a function, but for its own."""
        return [each for each in self._statements(self._file) if each.function != function and each.calls_any(function)]

    def _read(self, file: str) -> tuple[Statement, ...]:
        tree = self._text.tree(file)
        return () if tree is None else tuple(_statements(tree, file, ""))


def first_use(statement: Statement, following: list[Statement]) -> Statement | None:
    """Returns the first statement in `following` that uses what `statement` defines, also through plain assignments; None for none."""
    names = set(statement.defines)
    for each in following:
        if names & each.uses:
            if each.defines and not each.calls:
                names |= each.defines
                continue
            return each
    return None


def _statements(node: ast.AST, file: str, function: str) -> Iterator[Statement]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | _Function):
            yield from _statements(child, file, child.name if isinstance(child, _Function) else function)
        elif isinstance(child, ast.stmt):
            yield _statement(child, file, function)
            yield from _statements(child, file, function)
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _statements(child, file, function)


def _statement(node: ast.stmt, file: str, function: str) -> Statement:
    parts = list(_header(node))
    calls = [part for part in parts if isinstance(part, ast.Call)]
    blocks = [each.lineno for each in _block(node)]
    end = node.end_lineno or node.lineno
    return Statement(
        file=file,
        line=node.lineno,
        end_line=max(min(blocks) - 1, node.lineno) if blocks else end,
        function=function,
        calls=tuple(_dotted(call.func) for call in calls),
        keywords=frozenset(keyword.arg for call in calls for keyword in call.keywords if keyword.arg),
        imports=_imports(node),
        uses=frozenset(
            _dotted(part)
            for part in parts
            if isinstance(part, ast.Name | ast.Attribute) and isinstance(part.ctx, ast.Load)
        ),
        defines=frozenset(part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)),
    )


def _block(node: ast.stmt) -> Iterator[ast.stmt | ast.excepthandler]:
    """The statements of its blocks, not those in them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler):
            yield child
        elif isinstance(child, ast.match_case):
            yield from child.body


def _header(node: ast.stmt) -> Iterator[ast.AST]:
    """All nodes of a statement but those of its blocks."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from ast.walk(child)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return ""


def _imports(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.Import):
        return tuple(alias.name for alias in node.names)
    return (f"{'.' * node.level}{node.module or ''}",) if isinstance(node, ast.ImportFrom) else ()
