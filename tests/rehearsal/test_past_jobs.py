"""Past jobs of a worker: one that computes nothing may linger, one that computes on is ended."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from firstword.rehearsal import past_jobs, workers
from firstword.rehearsal.audit import unseen
from firstword.rehearsal.past_jobs import Computing
from firstword.rehearsal.processes import started
from firstword.rehearsal.workers import RunningWorker
from tests.calls.waiting import until

COMPUTES = "while :; do :; done"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(past_jobs, "_QUIET_S", 1.0)
    monkeypatch.setattr(past_jobs, "_QUIET_LOAD", 1e-9)  # on a busy machine, what computes gets little of a core
    monkeypatch.setattr(workers, "LINGER_S", 1.0)


@pytest.mark.parametrize(("script", "quiet"), [("read _", True), (COMPUTES, False)])
def test_a_past_job_that_computes_nothing_is_told_from_one_that_does(script: str, quiet: bool) -> None:
    """It lingers: the next call need not wait for it."""
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE) as process:
        try:
            computing = Computing(process.pid)
            assert not computing.is_quiet()  # it was not looked at for long enough
            time.sleep(1.1)
            assert computing.is_quiet() is quiet
            assert computing.end_busy({process.pid, 1}) == frozenset()  # not the worker's own, nor anybody else's
            assert process.poll() is None
        finally:
            process.kill()


async def test_a_past_job_that_computes_on_is_ended(tmp_path: Path) -> None:
    """It alone; the worker is at rest then. Another process of the worker's that computes is no past job."""
    log = tmp_path / "agent.log"
    said = ["registered worker", "process initialized", "process initialized", "received job request"]
    log.write_text("".join(json.dumps({"message": each}) + "\n" for each in said))
    script = f"sh -c '{COMPUTES}' & echo $! >job; sh -c 'sleep 600' & echo $! >idle; wait"
    async with started(("sh", "-c", script), {}, folder=tmp_path) as process:
        await until(lambda: (tmp_path / "idle").exists() and bool((tmp_path / "idle").read_text()))
        job, idle = (int((tmp_path / name).read_text()) for name in ("job", "idle"))  # microseconds
        worker = RunningWorker("agent", process, log, jobs=lambda: [job, 1])
        assert await worker.at_rest(60.0)
        assert worker.ended_jobs == {job}
        assert unseen(worker) == ("1 job computed on after the caller had left; the audit ended it.",)
        assert psutil.pid_exists(idle)
        assert not psutil.pid_exists(job) or psutil.Process(job).status() == psutil.STATUS_ZOMBIE
