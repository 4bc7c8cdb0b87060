"""The private names of LiveKit's worker that an audit needs, each listed once. It runs in the agent's own processes.

`firstword.telemetry.livekit_private` says what an entry is, `tests/agent/test_private_names.py` fails on an upgrade
that moves one.
"""

from __future__ import annotations

from typing import Final

from firstword.telemetry.livekit_private import PrivateName

_SERVER: Final = "livekit.agents:AgentServer"
_USER: Final = "firstword.rehearsal.agent_side.worker"
_JOB: Final = "livekit.agents.ipc.job_proc_lazy_main:_JobProc"
_PAGE: Final = "the agent's page of health is on all interfaces, on its own port"

HOST: Final = PrivateName(_SERVER, "_host", _USER, _PAGE)
PORT: Final = PrivateName(_SERVER, "_port", _USER, _PAGE)
START_JOB: Final = PrivateName(_JOB, "_start_job", _USER, "a past job that computes on is not ended")
HTTP_PROXY: Final = PrivateName(
    _SERVER, "_http_proxy", _USER, "an agent that has a proxy reaches no server on this machine"
)
AGENT_NAME: Final = PrivateName(_SERVER, "_agent_name", _USER, "the report does not say the agent's name")
EXECUTOR: Final = PrivateName(_SERVER, "_job_executor_type", _USER, "the floor runs its jobs in processes")
IDLE: Final = PrivateName(_SERVER, "_num_idle_processes", _USER, "the floor has one idle process")
SETUP: Final = PrivateName(_SERVER, "_setup_fnc", _USER, "the report takes it that the agent sets nothing up ahead")
PRELOADED: Final = PrivateName(
    _SERVER, "_preload_modules", _USER, "the report takes it that the agent preloads nothing"
)
