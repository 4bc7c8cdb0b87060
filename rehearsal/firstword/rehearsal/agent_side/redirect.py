"""Leads plugins whose address is an argument only to the simulators, and refuses to call any provider that has none.

A class gets another default right after its module is imported; an address that the agent gives is kept. So the agent's file stays as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any
from urllib.parse import urlsplit

from firstword.telemetry.source_lines import is_users
from firstword.telemetry.switch import after_import

from .facts import write_fact
from .loopback import is_loopback
from .settings import AuditSettings

BASES = {
    "livekit.agents.llm.duplex": "DuplexModel",
    "livekit.agents.llm.llm": "LLM",
    "livekit.agents.llm.realtime": "RealtimeModel",
    "livekit.agents.stt.stt": "STT",
    "livekit.agents.tts.tts": "TTS",
    "livekit.agents.voice.avatar._types": "AvatarSession",
}
"""Module of LiveKit's -> the class in it from which every provider of a kind is derived."""
_PROVIDERS = ("livekit.plugins.", "livekit.agents.inference.", "livekit.agents.llm._realtime.")
"""Where classes of providers lie; any other class is the user's, or works for another one."""


class NotSimulated(RuntimeError):
    """Raised where the agent would call a provider that is not simulated, and the audit may not call it."""


def redirect(settings: AuditSettings) -> None:
    """Leads the plugins that this process imports from now on to the simulators, and refuses providers that have none.

    Writes down as a fact each provider that is used or refused. With real providers it only writes them down.
    """
    for module, name in BASES.items():
        after_import(module, functools.partial(_watch, name, settings))
    if settings.real:
        return
    for path, address in settings.defaults.items():
        module, _, name = path.rpartition(".")
        after_import(module, functools.partial(_give_default, name, address, settings))
    for path, address in settings.constants.items():
        module, _, name = path.rpartition(".")
        after_import(module, functools.partial(_set_constant, name, address))


def provider_class(kind: type) -> str | None:
    """Returns the name, with its module, of the provider's class that a class is or derives from; None for one of the user's own making."""
    for each in kind.__mro__:
        if each.__module__.startswith(_PROVIDERS):
            return f"{each.__module__}.{each.__qualname__}"
    return None


def _watch(name: str, settings: AuditSettings, module: ModuleType) -> None:
    """Note which providers the agent makes, before any is called, and before a missing key of one stops the agent."""
    base: Any = getattr(module, name)

    def before(made: Any, _given: dict[str, Any]) -> None:
        provider = provider_class(made.__class__)
        if provider is None:
            return
        if settings.real or provider in settings.simulated:
            write_fact(settings.facts, "provider", name=provider)
        else:
            _refuse(provider, settings)

    def init_subclass(cls: type, **options: Any) -> None:
        super(base, cls).__init_subclass__(**options)
        if cls.__module__.startswith(_PROVIDERS):
            _call_before_init(cls, before)

    _call_before_init(base, before)
    base.__init_subclass__ = classmethod(init_subclass)


def _give_default(name: str, address: str, settings: AuditSettings, module: ModuleType) -> None:
    """An address that the agent gives may lead to this machine alone: OpenAI's plugin also speaks to other companies."""

    def before(_: Any, given: dict[str, Any]) -> None:
        url = given.get("base_url")
        if not isinstance(url, str):
            if address:
                given["base_url"] = address
        elif not is_loopback(url):
            _refuse(f"{module.__name__}.{name} at {urlsplit(url).hostname}", settings)

    _call_before_init(getattr(module, name), before)


def _set_constant(name: str, address: str, module: ModuleType) -> None:
    setattr(module, name, address)


def _call_before_init(cls: type, before: Callable[[Any, dict[str, Any]], None]) -> None:
    """Call `before` with the object and its arguments by name, which it may change."""
    init: Callable[..., None] = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked_init(self: Any, *arguments: Any, **options: Any) -> None:
        given = dict(signature.bind_partial(self, *arguments, **options).arguments)
        known = dict(given)
        before(self, given)
        options.update({name: value for name, value in given.items() if name not in known or value is not known[name]})
        init(self, *arguments, **options)

    cls.__init__ = checked_init


def _refuse(provider: str, settings: AuditSettings) -> None:
    file, line = _users_line(inspect.currentframe())
    write_fact(settings.facts, "refused", name=provider, place=file, line=line)
    raise NotSimulated(f"{provider} is not simulated, and without --real no provider is called")


def _users_line(frame: FrameType | None) -> tuple[str, int]:
    """The innermost line of the user's own that leads here."""
    while frame is not None:
        if frame.f_code.co_filename != __file__ and is_users(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return "", 0
