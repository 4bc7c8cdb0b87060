"""What the agent takes from LiveKit that LiveKit does not publish: each name once. The telemetry's are in `firstword.telemetry.livekit_private`.

Each name is looked up here, and a call is greeted without it. `tests/agent/test_private_names.py` fails on an upgrade that
moves a name. It removes each name in turn while a call is greeted, and finds private names in our source that have no entry.

What we know of LiveKit's behaviour, beside names:

    what                                                        user                   test
    the text of a lost connection's error                       worker                 tests/agent/test_livekit_private.py
    LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE                      worker                 tests/agent/test_livekit_private.py
    the name of the voice's track, `roomio_audio`               audio.early_output     tests/agent/test_playout.py
    the copy of the chat made before `on_user_turn_completed`   assistant              tests/agent/test_assistant.py
    what the mocks of a console lack                            console                tests/calls/test_console.py
    unpublishing that never returns in a room that is gone      audio.background       tests/agent/test_ending.py
    Nagle's algorithm, left on for the signalling               process.tcp_nodelay    tests/agent/test_tcp_nodelay.py
    texts in the log of a worker                                rehearsal.workers      tests/rehearsal/test_rehearse.py
    the reasons of a job's end                                  dispatch_end           tests/agent/test_dispatch_end.py

For tests alone `firstword.agent.testing` takes the place of the native client; `tests/agent/testing/test_livekit.py` holds it to the real
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import os
import signal
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from firstword.telemetry.livekit_private import PrivateName

if TYPE_CHECKING:
    from livekit.agents import AgentServer

NOT_BY_ITSELF: Final = frozenset({"job crashed", "parent process shutdown", "room disconnected"})
"""Reasons that shutdown callbacks are given for a job that did not end by itself. livekit-agents 1.8.9,
`ipc/job_proc_lazy_main.py`: its entrypoint has raised; its worker ends, or LiveKit's server asks for its end; the room was
left before anybody ended the job.
"""

_OUTPUT: Final = "livekit.agents.voice.room_io._output"
_INPUT: Final = "livekit.agents.voice.room_io._input"
_NO_LIGHT_CONNECT: Final = (
    "`light-connect` is off, the session makes its own audio, and a failed session has no apology"
)

AUDIO: Final = (
    PrivateName(_OUTPUT, "_ParticipantAudioOutput", "firstword.agent.audio.early_output", _NO_LIGHT_CONNECT),
    *(
        PrivateName(f"{_OUTPUT}:_ParticipantAudioOutput", name, "firstword.agent.audio.early_output", _NO_LIGHT_CONNECT)
        for name in (
            "_audio_source",
            "_lock",
            "_publication",
            "_publish_options",
            "_publish_track",
            "_room",
            "_subscribed_fut",
        )
    ),
    PrivateName(_INPUT, "_ParticipantAudioInputStream", "firstword.agent.audio.early_input", _NO_LIGHT_CONNECT),
    *(
        PrivateName(
            f"{_INPUT}:_ParticipantAudioInputStream", name, "firstword.agent.audio.early_input", _NO_LIGHT_CONNECT
        )
        for name in ("_data_ch", "_participant_identity")
    ),
    PrivateName(
        "livekit.agents.voice.room_io._pre_connect_audio",
        "PreConnectAudioHandler",
        "firstword.agent.audio.early_input",
        _NO_LIGHT_CONNECT,
    ),
)
"""The private names that our voice and ear are built on. Unless all of them exist, none is used."""
ENGINE_OPTIONS: Final = PrivateName(
    "livekit.agents.inference.tts:TTS",
    "_opts",
    "firstword.agent.greeting.engine",
    "greetings of `speak_first` are kept in the process only",
)
"""Attribute that holds an engine's options. All of LiveKit's own plugins have it."""
NATIVE_CLIENT: Final = PrivateName(
    "livekit.rtc._ffi_client",
    "FfiClient",
    "firstword.agent.process.first_use",
    "jobs in threads that begin at once may each make a native client",
)
HTTP_CONTEXT: Final = PrivateName(
    "livekit.agents.utils.http_context",
    "_ContextVar",
    "firstword.agent.greeting.session_recorder",
    "a realtime model whose greeting was just recorded can't start its session",
)
"""Context variable of the HTTP session of a job, which a model keeps from its first use on."""
CTRL_C_MASK: Final = PrivateName(
    "livekit.agents.ipc.supervised_proc",
    "_mask_ctrl_c",
    "firstword.agent.worker",
    "a Ctrl-C is lost while a process starts",
)
PERMISSIONS: Final = PrivateName(
    "livekit.rtc._proto.participant_pb2",
    "ParticipantPermission",
    "firstword.agent.call.console",
    "participants of a console have no permissions",
)
CONNECTION_TASK: Final = PrivateName(
    "livekit.agents:AgentServer",
    "_connection_task",
    "firstword.agent.worker",
    "the worker registers before its greetings are made",
)

_SERVER: Final = "livekit.agents:AgentServer"
_HEALTH: Final = "firstword.agent.health"
HTTP_SERVER: Final = PrivateName(
    _SERVER, "_http_server", _HEALTH, "`/healthz` and `/readyz` are on the port after the worker's"
)
PROC_POOL: Final = PrivateName(
    _SERVER, "_proc_pool", _HEALTH, "idle processes and their starts are not measured, and ready does not ask for one"
)
CONNECTING: Final = PrivateName(_SERVER, "_connecting", _HEALTH, "a worker that LiveKit once took counts as registered")
WORKER_LOAD: Final = PrivateName(_SERVER, "_worker_load", _HEALTH, "the load is not measured")
AVAILABLE: Final = PrivateName(_SERVER, "_is_available", _HEALTH, "whether a worker is full is not measured")
DRAIN_TIMEOUT: Final = PrivateName(_SERVER, "_drain_timeout", _HEALTH, "how much of a drain has passed is not measured")
INFERENCE: Final = PrivateName(
    _SERVER, "_inference_executor", _HEALTH, "`/healthz` is 200 though the inference process is dead"
)


class _Watched:
    """Data descriptor in the place of an attribute: keeps it where it was, and tells what it is set to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.told: WeakKeyDictionary[object, Callable[[Any], None]] = WeakKeyDictionary()

    def __get__(self, server: object, owner: type) -> Any:
        try:
            return vars(server)[self._name]
        except KeyError:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r} yet") from None

    def __set__(self, server: object, value: object) -> None:
        vars(server)[self._name] = value
        if (told := self.told.get(server)) is not None:
            told(value)


def when_set(server: AgentServer, name: PrivateName, told: Callable[[Any], None]) -> None:
    """Calls `told` with each value that this server's private attribute is set to from now on. It is never called if
    LiveKit has given up the name.

    livekit-agents 1.8.9, `worker.py`: `run` makes its HTTP server and its pool of processes, starts both, and offers
    no moment between.
    """
    owner = type(server)
    watched = vars(owner).get(name.name)
    if not isinstance(watched, _Watched):
        watched = _Watched(name.name)
        setattr(owner, name.name, watched)
    watched.told[server] = told


@functools.cache
def audio_is_known() -> bool:
    """Returns whether LiveKit has every private name of audio output and input that our voice and ear use. Checked once
    a process.
    """
    return all(name.exists() for name in AUDIO)


def no_permissions() -> Any:
    """Returns a participant's permissions with none granted, or None if LiveKit's type has moved."""
    made = PERMISSIONS.load()
    return None if made is None else made()


def noise_cancellation() -> Any:
    """Returns LiveKit's background voice cancellation, which works with LiveKit Cloud only.

    Raises ImportError if the extra is not installed; the settings have reported that before.
    """
    plugin: Any = importlib.import_module("livekit.plugins.noise_cancellation")
    return plugin.BVC()


def preload_no_turn_detector() -> None:
    """Keeps 240 MB of weights that no session here uses out of the worker's processes, unless the environment says
    otherwise.

    Call it before any of them starts. livekit-agents 1.8.9, `ipc/_preload.py`: LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE,
    unset, means VAD and turn detector. Set to 0 here, it means neither, and `firstword.agent.process.preload` loads the
    VAD.
    """
    os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")


def start_native_runtime() -> None:
    """Starts LiveKit's native client in this process. Where jobs are threads, call it before the first of them.

    livekit 1.1.21: `FfiClient.instance` is made at its first use and without a lock. Two jobs that begin at once make
    two, and the events of one never arrive: its `connect` hangs.
    """
    client = NATIVE_CLIENT.load()
    if client is not None:
        _ = client.instance


def hear_ctrl_c_while_processes_start(loop: asyncio.AbstractEventLoop) -> None:
    """Lets Ctrl-C end the worker even while it starts a process, and keeps Ctrl-C from those processes. Call it before
    the first starts.

    livekit-agents 1.8.9, `ipc/supervised_proc.py`: `_mask_ctrl_c` has the worker ignore SIGINT while a process starts,
    and a Ctrl-C is lost. The first start takes seconds, as what jobs share is imported. A process inherits the signals
    that the thread which starts it blocks. So the threads of the loop's executor, which start processes, block SIGINT.
    Python handles signals on the main thread.
    """
    if CTRL_C_MASK.load() is None:
        return
    resource_tracker.ensure_running()  # started by a thread that blocks the signal, it would unblock it there
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT})
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio", initializer=block))
    CTRL_C_MASK.wrap(lambda _: contextlib.nullcontext)


def is_lost_connection(error: BaseException | None) -> bool:
    """Returns whether `error` is the one of `AgentServer.run` for a server that did not take the worker after all
    retries.

    livekit-agents 1.8.9 has no class for it: `_connection_task` raises RuntimeError, and only its text says which.
    """
    return isinstance(error, RuntimeError) and str(error).startswith("failed to connect to livekit after")


@contextlib.contextmanager
def lost_connection_unlogged() -> Generator[None]:
    """Context manager that keeps the traceback of a lost connection out of LiveKit's log. Whoever catches the error has
    more to say.
    """

    def unlogged(record: logging.LogRecord) -> bool:
        return not (record.exc_info and is_lost_connection(record.exc_info[1]))

    log = logging.getLogger("livekit.agents")
    log.addFilter(unlogged)
    try:
        yield
    finally:
        log.removeFilter(unlogged)
