"""firstword.agent.process: what is ready before a job."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from firstword.agent.unheard import LONGEST_WAIT_S
from tests.agent.silent_server import silent_server

ROOT = Path(__file__).parents[2]
INITIALIZED_WITHIN_S = 10.0
"""LiveKit kills a process that takes longer, unless a worker says otherwise."""
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
print(len({id(part) for each in sets for part in (each.stt, each.llm, each.tts, each.vad)}), gc.isenabled())
"""


def test_each_thread_has_a_set_of_its_own_before_its_job(tmp_path: Path) -> None:
    """So with `component-pool` no session builds one, and none shares an event emitter with another: metrics can't mix.

    Garbage is looked for before and after.
    """
    environment = environment_of(tmp_path) | {"FIRSTWORD_PROFILE": "component-pool"}
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.returncode) == ("8 True", 0), done.stderr


def environment_of(folder: Path) -> dict[str, str]:
    """Of a process whose store and caches lie in this folder, and that exports nothing."""
    return {
        **os.environ,
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "secret",
        "OPENAI_API_KEY": "simulated",
        "DEEPGRAM_API_KEY": "simulated",
        "FIRSTWORD_STORE_URL": f"sqlite:///{folder / 'accounts.db'}",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "XDG_CACHE_HOME": str(folder),
    }


HUNG_STORE = """
from livekit.agents import JobExecutorType, JobProcess
from firstword.agent.process import job_process

job = JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)
job_process.set_up(job)
"""


@pytest.mark.parametrize("unheard", [False, True], ids=["alone", "while a caller waits"])
async def test_a_store_that_never_answers_keeps_no_process_from_its_job(unheard: bool, tmp_path: Path) -> None:
    """Nor do the callers who wait at the same time: LiveKit kills a process that is not ready in time."""
    async with silent_server() as server:
        environment = environment_of(tmp_path) | {
            "FIRSTWORD_STORE_URL": f"postgresql://u:p@127.0.0.1:{server.port}/d",
            "FIRSTWORD_PROFILE": "tuned",
            "FIRSTWORD_RUN_FOLDER": str(tmp_path),
        }
        if unheard:
            (tmp_path / "AJ_1.unheard").touch()
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HUNG_STORE, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        _, err = await done.communicate()
    assert done.returncode == 0, err.decode()
    (waited,) = re.findall(r"caches and store could not be prepared within ([\d.]+) s", err.decode())
    assert float(waited) + LONGEST_WAIT_S < INITIALIZED_WITHIN_S
