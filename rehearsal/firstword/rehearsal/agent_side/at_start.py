"""Prepares each process of an agent that is audited: imported at its start (FIRSTWORD_AT_START), it acts on modules as
they are imported."""

from __future__ import annotations

import functools

from firstword.telemetry.switch import after_import

from .redirect import redirect
from .settings import AuditSettings
from .worker import hold, keep_environment, note_jobs

_settings = AuditSettings.read()
redirect(_settings)
after_import("livekit.agents.worker", functools.partial(hold, _settings))
after_import("livekit.agents.ipc.job_proc_lazy_main", functools.partial(note_jobs, _settings))
after_import("dotenv.main", functools.partial(keep_environment, _settings))
