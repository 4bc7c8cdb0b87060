"""Checks an agent's file before it is run: reads it, then imports it once in the agent's own Python. Says in one line
what is wrong.

Between what was typed and `agent_process.py`, which runs the file in the way that is found here.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from firstword.rehearsal.agent_log import shown_path
from firstword.rehearsal.agent_side.probe import PREFERRED
from firstword.rehearsal.processes import ServerError, started
from firstword.tuning.audit.facts import ImportTime

PROBE = "firstword.agent_side.probe"
PROBE_S = 60.0
"""Seconds that the import may take; a cold import of LiveKit and a dozen plugins takes seconds."""
_LIVEKIT = re.compile(r"livekit-agents[<>]")
_IMPORT_TIME = re.compile(r"^import time:\s+\d+ \|\s+(?P<cumulative>\d+) \|(?P<indent> +)(?P<module>\S+)$")


class BadAgent(ServerError):
    """Raised where the file can't be audited; the message is one line, with the line of the file where there is one."""


@dataclass(frozen=True, slots=True)
class AgentFile:
    """An agent's file that can be run, and what is known of it and of its Python."""

    path: Path
    python: Path
    folder: Path
    """The folder in which the agent runs."""
    python_version: str
    livekit: str
    by_itself: bool
    """Whether it is started as a program (`python FILE start`); else LiveKit finds its server (`python -m livekit.agents start FILE`)."""
    plugins: tuple[str, ...]
    """Names of LiveKit's plugins that are imported with it, as `openai`."""
    keys: tuple[str, ...]
    """Names of the variables with keys that are set once it is imported, as `OPENAI_API_KEY`."""
    addresses: Mapping[str, str]
    """Variable that leads providers elsewhere -> host and port, as `OPENAI_BASE_URL` -> `127.0.0.1:9`."""
    imports: tuple[ImportTime, ...]
    """Import times of what the file imports itself, the longest first."""

    @property
    def command(self) -> tuple[str, ...]:
        """Returns the command that runs the agent as in production."""
        if self.by_itself:
            return (str(self.python), str(self.path), "start", "--log-level", "INFO")
        return (str(self.python), "-P", "-m", "livekit.agents", "start", str(self.path), "--log-level", "INFO")


def read_source(file: Path) -> ast.Module:
    """Returns the file's syntax tree, by the grammar of our Python. Raises BadAgent where it can't be read, or isn't Python."""
    try:
        return ast.parse(file.read_bytes(), str(file))
    except FileNotFoundError:
        raise BadAgent(f"{file} is not there; expected the Python file of an agent") from None
    except IsADirectoryError:
        raise BadAgent(f"{file} is a folder; expected the Python file of an agent") from None
    except OSError as error:
        raise BadAgent(f"{file} can't be read: {error.strerror}") from None
    except SyntaxError as error:
        raise BadAgent(f"{file}:{error.lineno or 1}: {type(error).__name__}: {error.msg}") from None
    except ValueError as error:  # null bytes, an encoding that is not known
        raise BadAgent(f"{file} is not Python: {error}") from None


async def probe(
    file: Path, python: Path, folder: Path, environment: Mapping[str, str], answer: Path, without: Sequence[str]
) -> AgentFile:
    """Imports the file once in a process of its own, and returns how to run it. Raises BadAgent with what is wrong.

    answer: the file for what the process finds. What the agent's file prints goes into a log beside it.
    without: the prefix of a command that drops variables.
    """
    tree = read_source(file)
    output = answer.with_suffix(".log")
    command = (*without, str(python), "-P", "-X", "importtime", "-m", PROBE, str(file), str(answer))
    with output.open("wb") as log:
        try:
            async with (
                started(command, environment, output=log.fileno(), folder=folder) as process,
                asyncio.timeout(PROBE_S),
            ):
                code = await process.wait()
        except TimeoutError:
            raise BadAgent(
                f"{shown_path(file)} was not imported within {PROBE_S:g} s; expected a server that LiveKit starts, not one that runs at import"
            ) from None
    text = output.read_text(errors="replace")
    found = _answer(answer)
    if found is None:
        words = [line for line in text.splitlines() if not line.startswith("import time:")]
        says = f": {words[-1]}" if words else ""
        if code in (126, 127):
            raise BadAgent(f"{python} can't be run{says}; expected a Python, with --python")
        raise BadAgent(f"{shown_path(file)} ends Python at import (exit code {code}){says}")
    return _agent_file(file, python, folder, tree, found, text)


def _answer(file: Path) -> dict[str, Any] | None:
    """What the process found; None where it ended before it could say so."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _agent_file(
    file: Path, python: Path, folder: Path, tree: ast.Module, found: dict[str, Any], text: str
) -> AgentFile:
    if not found["held"]:  # then nothing would hold the agent back from its providers
        raise BadAgent(
            f"{python} does not do what PYTHONPATH asks for at its start; expected CPython 3.11 to 3.13, without a "
            "sitecustomize of its own that goes first"
        )
    require_livekit_release(found["livekit"], python)
    by_itself = bool(found["runs_itself"]) or (_runs_app(tree) and not found["servers"])
    error = found.get("error")
    # siblings that are imported by their bare name are found where the file is started as a program
    if error and not (by_itself and error["type"] == "ModuleNotFoundError" and _is_sibling(error["module"], file)):
        raise BadAgent(_in_words(error, file, python))
    if not by_itself:
        _require_one_server(found["servers"], file, tree)
    return AgentFile(
        path=file,
        python=python,
        folder=folder,
        python_version=found["python"],
        livekit=found["livekit"],
        by_itself=by_itself,
        plugins=tuple(found["plugins"]),
        keys=tuple(found["keys"]),
        addresses=found["addresses"],
        imports=tuple(_imports(text, file)),
    )


def require_livekit_release(version: str | None, python: Path) -> None:
    """Raises BadAgent unless the agent's release of LiveKit is one that we know."""
    first, end = livekit_range()
    if version is None:
        raise BadAgent(
            f"{python} has no livekit-agents; expected the agent's own Python: --python PATH, as .venv/bin/python"
        )
    if not _numbers(first) <= _numbers(version) < _numbers(end):
        raise BadAgent(f"livekit-agents is {version} in {python}; expected {first} or later, below {end}")


def livekit_range() -> tuple[str, str]:
    """Returns the first release of livekit-agents that we know, and the first later one that we don't, as firstword[agent] requires it."""
    for requirement in metadata.requires("firstword") or ():
        if _LIVEKIT.match(requirement):
            first, end = re.search(r">=([\d.]+)", requirement), re.search(r"<([\d.]+)", requirement)
            if first and end:
                return first[1], end[1]
    raise LookupError("firstword requires no livekit-agents")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _runs_app(tree: ast.Module) -> bool:
    """Whether the file has `cli.run_app(...)`: it can be started as a program."""
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(
        (isinstance(call, ast.Attribute) and call.attr == "run_app")
        or (isinstance(call, ast.Name) and call.id == "run_app")
        for call in calls
    )


def _is_sibling(module: str | None, file: Path) -> bool:
    name = (module or "").partition(".")[0]
    return bool(name) and ((file.parent / f"{name}.py").is_file() or (file.parent / name).is_dir())


def _require_one_server(servers: dict[str, int], file: Path, tree: ast.Module) -> None:
    if not servers:
        raise BadAgent(
            f"{shown_path(file)} has no agent server; expected `server = AgentServer()` at the top level, or `cli.run_app(...)`"
        )
    if len(set(servers.values())) > 1 and not servers.keys() & set(PREFERRED):
        lines = _assigned(tree)
        places = " and ".join(
            f"`{name}` (line {lines[name]})" if name in lines else f"`{name}`" for name in sorted(servers)
        )
        raise BadAgent(
            f"{shown_path(file)} has more than one agent server: {places}; expected one, or one named `server`"
        )


def _assigned(tree: ast.Module) -> dict[str, int]:
    """Top-level name -> the line at which it is assigned."""
    return {
        target.id: node.lineno
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _in_words(error: dict[str, Any], file: Path, python: Path) -> str:
    """One line: where, what, and what to do."""
    place = f"{shown_path(Path(error['file']))}:{error['line']}"
    message = " ".join(str(error["message"]).split())
    match error["type"]:
        case "SystemExit":
            return f"{place}: the file ends at import (exit code {message}); expected it to end only where it is started as a program"
        case "KeyError" if error["in_environment"]:
            return f"{place}: {message} is not set; expected it in the environment, or in a file that the agent reads"
        case "ImportError" | "ModuleNotFoundError" if error["module"]:
            package = _package(error["module"])
            return f"{place}: no module {error['module']} in {python}; expected it there (pip install {package}), or {_own_python(file, python)}"
        case kind:
            return f"{place}: {kind}: {message}" if message else f"{place}: {kind}"


def _own_python(file: Path, python: Path) -> str:
    """What to type for the agent's own Python: that of the virtual environment which lies nearest to its file, if it is another one."""
    for folder in file.parents:
        own = folder / ".venv" / "bin" / "python"
        if own.exists() and own != python:
            return f"--python {shown_path(own)}"
    return "--python PATH with the agent's own Python"


def _package(module: str) -> str:
    if module.startswith("livekit.plugins."):
        return f"livekit-plugins-{module.split('.')[2].replace('_', '-')}"
    return module.partition(".")[0]


def _imports(text: str, file: Path) -> list[ImportTime]:
    """What `-X importtime` tells of the imports that the agent's file makes itself; Python tells of a module after those that it imports."""
    rows = [match for line in text.splitlines() if (match := _IMPORT_TIME.match(line))]
    own = next((at for at in range(len(rows) - 1, -1, -1) if rows[at]["module"].split(".")[-1] == file.stem), None)
    if own is None:
        return []
    depth, found = len(rows[own]["indent"]), list[ImportTime]()
    for row in reversed(rows[:own]):
        if len(row["indent"]) <= depth:
            break
        if len(row["indent"]) == depth + 2:
            found.append(ImportTime(row["module"], int(row["cumulative"]) / 1e6))
    return sorted(found, key=lambda each: -each.seconds)
