"""Lists what the telemetry takes from LiveKit that LiveKit does not publish: each name once. The agent's are in
`firstword.agent.livekit_private`.

Each name is looked up by its entry, and each user works without it. `tests/agent/test_private_names.py` fails on an
upgrade that moves a name. It removes each name in turn while a call is greeted, and finds private names in our source
that have no entry.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any, Final

LIVEKIT: Final = "1.8.9"
"""The version of livekit-agents in which every entry was last read."""


@dataclass(frozen=True, slots=True)
class PrivateName:
    """One private name of a library: where it is, which module of ours uses it, and what is lost without it."""

    where: str
    """The module, or `module:Class` for an attribute of a class or of its objects."""
    name: str
    user: str
    """The module of ours that uses it."""
    without: str
    """What a call or a trace is like if the name is gone."""

    def of(self, owner: object) -> Any:
        """Returns the owner's attribute of this name, or None if it has none."""
        return getattr(owner, self.name, None)

    def load(self) -> Any:
        """Returns the attribute of the module or class itself. None if module, class or name is gone."""
        return self.of(self._owner())

    def wrap(self, wrapper: Callable[[Any], Any]) -> None:
        """Puts `wrapper(attribute)` in the attribute's place, in the module or class itself. Does nothing if it is gone."""
        if (found := self.load()) is not None:
            setattr(self._owner(), self.name, wrapper(found))

    def exists(self) -> bool:
        """Returns whether the name exists: in the module, in the class, or used by the constructor or `run` of the class."""
        if self.load() is not None:
            return True
        bases: tuple[type, ...] = getattr(self._owner(), "__mro__", ())
        made = (getattr(vars(base).get(name), "__code__", None) for base in bases for name in ("__init__", "run"))
        return any(isinstance(code, CodeType) and self.name in code.co_names for code in made)

    def _owner(self) -> Any:
        """The module or class that has the name; None where it is gone."""
        module, _, owner = self.where.partition(":")
        try:
            found = importlib.import_module(module)
        except ImportError:
            return None
        return getattr(found, owner, None) if owner else found


JOB_INFO: Final = PrivateName(
    "livekit.agents:JobContext", "_info", "firstword.telemetry.livekit", "the start begins with the plan's first step"
)
"""Has the instants of the dispatch: `received_at`, `accepted_at`, `assigned_at`, `launched_at`."""
JOB_PROCESS: Final = PrivateName(
    "livekit.agents.ipc.job_proc_lazy_main", "_JobProc", "firstword.telemetry.livekit_hooks", "no start is observed"
)
JOB_ENTRYPOINT: Final = PrivateName(
    "livekit.agents.ipc.job_proc_lazy_main:_JobProc",
    "_job_entrypoint_fnc",
    "firstword.telemetry.livekit_hooks",
    "no start is observed",
)
AVATAR_ROOM: Final = PrivateName(
    "livekit.agents.voice.avatar:DataStreamAudioOutput",
    "_room",
    "firstword.telemetry.audible_frames",
    "an avatar's first word is not observed",
)
TRACER_PROVIDER: Final = PrivateName(
    "livekit.agents.telemetry.traces:_DynamicTracer",
    "_tracer_provider",
    "firstword.telemetry.observed_export",
    "a provider that the agent sets for LiveKit alone gets no observed start",
)
START_ACTIVITY: Final = PrivateName(
    "livekit.agents:AgentSession", "_update_activity_task", "firstword.telemetry.libraries", "no span inside `session`"
)
LINK_CALLER: Final = PrivateName(
    "livekit.agents.voice.room_io:RoomIO", "_init_task", "firstword.telemetry.libraries", "no span inside `session`"
)
SPAN_PROCESSOR: Final = PrivateName(
    "opentelemetry.sdk.trace:TracerProvider",
    "_active_span_processor",
    "firstword.telemetry.observed_export",
    "an observed start does not go to the agent's own provider",
)
"""OpenTelemetry's. There is no other way to hand a finished span to a provider."""
NATIVE_EVENT: Final = PrivateName(
    "livekit.rtc._proto.ffi_pb2",
    "FfiEvent",
    "firstword.telemetry.loop_record",
    "a wait for the caller's sound is called `outside`",
)
NATIVE_SOUND: Final = "audio_stream_event"
"""The field of `NATIVE_EVENT` that has a frame of a participant's sound."""
BACKGROUND_AUDIO: Final = "background_audio"
"""The name that LiveKit's BackgroundAudioPlayer gives its track. Without it, background audio would count as the first word."""
