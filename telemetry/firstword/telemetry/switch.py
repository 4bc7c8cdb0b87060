"""The switch of observation: it reads FIRSTWORD_OBSERVE, and waits until LiveKit is imported.

`firstword.pth` imports this in every process of a Python in which the variable is set, whatever it runs. So it imports
hardly anything and does one thing: it registers a hook that acts when LiveKit is imported
(`firstword.telemetry.livekit_hooks`).
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

VARIABLE = "FIRSTWORD_OBSERVE"
EXPECTED = "1, or the share of sessions that are observed, as 0.05"
HOOKED = {
    "livekit.agents.worker": "hook_worker",
    "livekit.agents.ipc.job_proc_lazy_main": "hook_jobs",
}
"""Modules of LiveKit's -> the function of `firstword.telemetry.livekit_hooks` that is called once they are imported."""

_default = ""
_acts: dict[str, list[Callable[[ModuleType], None]]] = {}
"""Module -> what is done right after its import."""


def asked() -> str:
    """Returns the value of FIRSTWORD_OBSERVE or, if it is not set, what was given to `register`. Empty: nothing is
    observed.
    """
    return os.environ.get(VARIABLE, "").strip() or _default


def share() -> float:
    """Returns the share of sessions that are observed, from 0 to 1. Raises ValueError if the variable has another
    value.
    """
    text = asked()
    try:
        found = float(text or "0")
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ValueError(f"{VARIABLE} is {text!r:.60}; expected {EXPECTED}")
    return found


def register(default: str = "") -> None:
    """Hooks into LiveKit when it is imported, or at once if it is imported already. A second call changes only the
    default.

    default: the value that counts if the variable is not set.
    """
    global _default
    _default = default or _default
    if not registered():
        for name, function in HOOKED.items():
            after_import(name, functools.partial(_hook, function))


def registered() -> bool:
    """Returns whether this process has called `register`."""
    return HOOKED.keys() <= _acts.keys()


def after_import(name: str, act: Callable[[ModuleType], None]) -> None:
    """Calls `act` with the module of that name, right after each import of it; also now, if it is imported already.

    What `act` raises, the import raises.
    """
    if not any(isinstance(finder, _AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())
    _acts.setdefault(name, []).append(act)
    if name in sys.modules:
        act(sys.modules[name])


class _AfterImport:
    """Finds modules as the finders behind it do, and acts after the import of those that `after_import` named."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _acts:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                _call_after(spec)
                return spec
        return None


def _call_after(spec: ModuleSpec) -> None:
    loader = spec.loader
    if loader is None:
        return
    execute = loader.exec_module

    def execute_and_act(module: ModuleType) -> None:
        execute(module)
        for act in _acts[module.__name__]:
            act(module)

    setattr(loader, "exec_module", execute_and_act)  # noqa: B010 # a loader is one module's own; its type has a method there


def _hook(function: str, module: ModuleType) -> None:
    """Whatever is wrong with us, LiveKit is imported as without us."""
    try:
        from firstword.telemetry import livekit_hooks

        getattr(livekit_hooks, function)(module)
    except Exception:
        import logging

        logging.getLogger("firstword").exception("starts are not observed; the agent runs as without %s", VARIABLE)
