"""Reads `.env.local` into the environment, in the same way for the worker, the commands and whatever they start.

Below `firstword.agent.settings`. OpenTelemetry's exporters and flagd's provider read the environment themselves, so
what the file sets has to be there. Parsed by python-dotenv, as LiveKit's own examples do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

ENV_FILE: Final = ".env.local"
PREFIXES: Final = ("LIVEKIT_", "OPENAI_", "DEEPGRAM_", "FIRSTWORD_", "OTEL_", "FLAGD_")
"""Only variables with these prefixes are taken from the file. It is the user's, and may hold others."""

_NAME = re.compile(r"[A-Z0-9_]+")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_REFERENCE = re.compile(r"\$\{[^}]*\}")


class EnvFileError(Exception):
    """Raised when the file can't be read at all. The message says what was expected, and a possible cause."""


@dataclass(frozen=True, slots=True)
class EnvFault:
    """A fault, or a possible one, of one variable in the file."""

    variable: str
    text: str
    """The line of the file, what was expected, and a possible cause. Shows nothing of the value."""
    lost: bool
    """True: the file does not set the variable. False: it does, but perhaps to another value than was meant."""

    def __str__(self) -> str:
        return f"{self.variable} {self.text}"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The variables that the file sets, by names in capitals, and the faults in it."""

    values: Mapping[str, str] = field(default_factory=dict[str, str])
    faults: tuple[EnvFault, ...] = ()

    def faults_in(self, environment: Mapping[str, str]) -> tuple[EnvFault, ...]:
        """Returns the faults that matter in this environment.

        A lost variable matters where the environment does not set it. Any other fault matters where the file's value is
        the one in use.
        """
        return tuple(
            fault
            for fault in self.faults
            if (fault.variable not in environment if fault.lost else self._set_here(fault.variable, environment))
        )

    def _set_here(self, variable: str, environment: Mapping[str, str]) -> bool:
        return environment.get(variable, self.values[variable]) == self.values[variable]


def load(environment: MutableMapping[str, str] = os.environ) -> EnvFile:
    """Fills the environment from `.env.local` of the working directory. A variable that is set there already wins, even
    if it is empty.

    Names of variables count in any case, in the file and in the environment. Returns the parsed file, empty if there is
    none. Raises EnvFileError.
    """
    for name in list(environment):
        if name.upper().startswith(PREFIXES):
            environment.setdefault(name.upper(), environment[name])
    file = read()
    for name, value in file.values.items():
        environment.setdefault(name, value)
    return file


def read() -> EnvFile:
    """Reads `.env.local` of the working directory. Returns an empty EnvFile if there is none. Raises EnvFileError."""
    try:
        content = Path(ENV_FILE).read_bytes()
    except FileNotFoundError:
        return EnvFile()
    except OSError as error:
        raise EnvFileError(f"{ENV_FILE}: expected a file that can be read; possible cause: {error.strerror}") from None
    return parse(content)


def parse(content: bytes) -> EnvFile:
    """Parses the content of a `.env.local`. Raises EnvFileError if it is not UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        wide = b"\0" in content[:4] or content[:2] in (b"\xff\xfe", b"\xfe\xff")
        cause = "an editor saved it as UTF-16" if wide else "it is in an older encoding"
        raise EnvFileError(f"{ENV_FILE}: expected text in UTF-8; possible cause: {cause}") from None
    good: list[Binding] = []
    lost: list[EnvFault] = []
    for each in parse_stream(StringIO(text)):
        name = (each.key or "").upper()
        if each.error:
            lost += _unreadable(each)
        elif each.value is not None and _NAME.fullmatch(name) and name.startswith(PREFIXES):
            if why := _lost(each):
                lost += [EnvFault(variable, why, lost=True) for variable in (name, *_swallowed(each.value))]
            else:
                good.append(each)
    # of the others python-dotenv would log what is said here by name
    resolved = dotenv_values(stream=StringIO("".join(each.original.string for each in good)))
    values: dict[str, str] = {}
    faults: list[EnvFault] = []
    for each in good:
        name = (each.key or "").upper()
        if name in values:
            faults.append(EnvFault(name, f"stands twice in {ENV_FILE}, and the last one counts", lost=False))
        values[name] = resolved[each.key or ""] or ""
        faults += [EnvFault(name, f"in {_place(each)}: {doubt}", lost=False) for doubt in _doubts(each)]
    # where another line sets the variable it is not lost, but may be another
    faults += [replace(each, lost=each.variable not in values) for each in lost]
    return EnvFile(values, tuple(faults))


def _unreadable(statement: Binding) -> Iterator[EnvFault]:
    text = statement.original.string.lstrip()
    quote = text.partition("=")[2].lstrip()[:1]
    cause = f"a {quote} that is left open" if quote in ("'", '"') else "something after the value"
    expected = f"in {_place(statement)}: expected quotes around the whole value, or none; possible cause: {cause}"
    for variable in _assigned(text.splitlines()):
        yield EnvFault(variable, expected, lost=True)


def _lost(statement: Binding) -> str:
    """Why a statement that can be parsed sets nothing; empty where it does."""
    value = statement.value or ""
    if "\0" in value:
        return f"in {_place(statement)}: expected text; possible cause: the file is in another encoding than UTF-8"
    if _swallowed(value):
        return f"in {_place(statement)}: expected a closing quote on the same line; possible cause: a quote that is left open"
    return ""


def _swallowed(value: str) -> list[str]:
    """Our variables on the later lines of a value: a quote that was left open runs to the next one."""
    return _assigned(value.splitlines()[1:])


def _assigned(lines: Iterable[str]) -> list[str]:
    names = [found[1].upper() for line in lines if (found := _ASSIGNMENT.match(line))]
    return [name for name in names if name.startswith(PREFIXES)]


def _doubts(statement: Binding) -> Iterator[str]:
    raw = statement.value or ""
    quoted = statement.original.string.partition("=")[2].strip()[:1] in ("'", '"')
    if references := _REFERENCE.findall(raw):
        yield f"{', '.join(references)} was replaced, as in a shell; if it belongs to the value, set the variable in the environment"
    if "#" in raw and not quoted:
        yield "its # belongs to the value; a comment needs a blank before it, and quotes around the value settle it"


def _place(statement: Binding) -> str:
    leading = statement.original.string
    blank = leading[: len(leading) - len(leading.lstrip())].count("\n")
    return f"{ENV_FILE}, line {statement.original.line + blank}"
