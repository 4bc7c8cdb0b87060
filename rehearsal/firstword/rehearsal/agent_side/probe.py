"""`python -P -m firstword.agent_side.probe FILE ANSWER`: imports an agent's file as LiveKit would, and writes what it found as JSON.

Run in the agent's own Python, in a process of its own: whatever the file does at import ends here. `-X importtime` may be given.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import traceback
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from firstword.telemetry.source_lines import is_users
from firstword.telemetry.switch import after_import

AT_START = "firstword.agent_side.at_start"
"""Name of the module that holds the agent to the audit, in each of its processes."""
PREFERRED = ("app", "server", "agent")
"""Names of servers that LiveKit takes before any other (`livekit.agents.cli.discover`, 1.8.9)."""
_ADDRESSES = ("_BASE_URL", "_API_BASE", "_INFERENCE_URL")
"""Ends of the names of variables that lead a plugin to another address."""


def probe(file: Path) -> dict[str, Any]:
    """Imports the file, and returns what is in it: servers, plugins, versions, and the error that it raised.

    What the file prints goes where this process's output goes.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "livekit": _version(),
        "held": AT_START in sys.modules,
        "servers": {},
        "runs_itself": False,
    }
    if found["livekit"] is None:
        return found

    def note(*_: object) -> None:
        found["runs_itself"] = True

    def replace(module: ModuleType) -> None:
        setattr(module, "run_app", note)  # noqa: B010 # a module's attribute, of a library that may not be here

    after_import("livekit.agents.cli.cli", replace)
    after_import("livekit.agents.cli", replace)
    try:
        module = _imported(file)
    except SystemExit as end:
        found["error"] = {**_place(end, file), "type": "SystemExit", "message": str(end.code)}
    except BaseException as error:
        found["error"] = {
            **_place(error, file),
            "type": type(error).__name__,
            "message": str(error),
            "module": _missing_module(error),
            "in_environment": _is_variable(error),
        }
    else:
        found["servers"] = _servers(module)
    found["keys"] = sorted(name for name, value in os.environ.items() if name.endswith("_API_KEY") and value)
    found["addresses"] = {name: _host(os.environ[name]) for name in sorted(os.environ) if name.endswith(_ADDRESSES)}
    found["plugins"] = sorted({name.split(".")[2] for name in sys.modules if name.startswith("livekit.plugins.")})
    return found


def _host(url: str) -> str:
    """The host and port of an address; whatever else is in it may be secret."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _version() -> str | None:
    try:
        return metadata.version("livekit-agents")
    except metadata.PackageNotFoundError:
        return None


def _imported(file: Path) -> ModuleType:
    """The module, by the name that LiveKit gives it: of a file in a package with the package's."""
    parts, folder = [file.stem], file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))
    name = ".".join(parts)
    __import__(name)  # as the statement does: of importlib's function `-X importtime` tells nothing
    return sys.modules[name]


def _servers(module: ModuleType) -> dict[str, int]:
    """Name -> identity of each worker that the module has: two names may stand for one."""
    agents = sys.modules.get("livekit.agents")
    if agents is None:
        return {}
    return {name: id(value) for name, value in vars(module).items() if isinstance(value, agents.AgentServer)}


def _missing_module(error: BaseException) -> str | None:
    """The module that is not there: one that was imported, or a plugin that was asked of the namespace of plugins."""
    if isinstance(error, ModuleNotFoundError):
        return error.name
    if isinstance(error, ImportError) and error.name == "livekit.plugins":
        return f"{error.name}.{str(error).split(chr(39))[1]}"
    return None


def _is_variable(error: BaseException) -> bool:
    """Whether it is a variable of the environment that is not set."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, KeyError) and bool(frames) and frames[-1].filename in (os.__file__, "<frozen os>")


def _place(error: BaseException, file: Path) -> dict[str, Any]:
    """The innermost line of the user's own; of a syntax error, where it is."""
    if isinstance(error, SyntaxError) and error.filename:
        return {"file": error.filename, "line": error.lineno or 1}
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if is_users(frame.filename)]
    return {"file": own[-1].filename, "line": own[-1].lineno} if own else {"file": str(file), "line": 1}


def main() -> None:
    """Probes the file, writes the answer, and ends the process at once: a thread of the file's may go on for ever."""
    file, answer = (Path(argument) for argument in sys.argv[1:])
    answer.write_text(json.dumps(probe(file)), encoding="utf-8")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
