"""agent/process.py: what is ready before a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TWO_THREADS = """
import gc, threading
from livekit.agents import JobExecutorType, JobProcess
from firstword.agent.process import job_process

assert gc.isenabled()  # only a worker turns it off
from firstword.agent.process import preload

jobs = [JobProcess(executor_type=JobExecutorType.THREAD, user_arguments=None, http_proxy=None) for _ in range(2)]
threads = [threading.Thread(target=job_process.set_up, args=(job,)) for job in jobs]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sets = [job_process.of(job).components for job in jobs]
print(len({id(part) for each in sets for part in (each.stt, each.llm, each.synthesis.tts, each.vad)}), gc.isenabled())
"""


def test_each_thread_has_a_set_of_its_own_before_its_job(tmp_path: Path) -> None:
    """So with `component-pool` no session builds one, and none shares an event emitter with another: metrics can't mix.

    Garbage is looked for before and after.
    """
    settings = {
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "secret",
        "OPENAI_API_KEY": "simulated",
        "DEEPGRAM_API_KEY": "simulated",
        "FIRSTWORD_STORE_URL": f"sqlite:///{tmp_path / 'accounts.db'}",
        "FIRSTWORD_PROFILE": "component-pool",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    environment = {**os.environ, **settings}
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.returncode) == ("8 True", 0), done.stderr
