"""The worker as an operator meets it: what it says, and its exit code, when it can't run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from firstword.rehearsal.processes import free_ports
from tests.agent.silent_server import silent_server
from tests.background import IN_A_TERMINAL, IN_BACKGROUND

ENTRYPOINT = """
import os, tempfile
tempfile.tempdir = os.environ.get("FIRSTWORD_TEST_NO_TEMPORARY")  # tempfile itself would find /tmp
from firstword.agent.worker import server
server.update_options(max_retry=1)
"""


STARTED_WITHIN = 120.0
"""Seconds: a bound that only a hang reaches."""


async def started(
    folder: Path, *by: str, options: tuple[str, ...] = (), **variables: str
) -> asyncio.subprocess.Process:
    """A worker that retries once, with `variables` set unless they are empty, started by the program `by`."""
    entrypoint = folder / "few_retries.py"
    entrypoint.write_text(ENTRYPOINT)
    return await started_from(entrypoint, folder, variables, by, options)


async def started_from(
    entrypoint: Path, folder: Path, variables: Mapping[str, str], by: Sequence[str] = (), options: Sequence[str] = ()
) -> asyncio.subprocess.Process:
    """The worker in that file, likewise."""
    own = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{free_ports(1)[0]}",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "a secret's stand-in of thirty-two".replace(" ", "-"),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{free_ports(1)[0]}/v1",
        "DEEPGRAM_API_KEY": "none",
        "DEEPGRAM_BASE_URL": f"http://127.0.0.1:{free_ports(1)[0]}/v1",
        "FIRSTWORD_IDLE_PROCESSES": "0",
        "FIRSTWORD_PROFILE": "baseline",
        "FIRSTWORD_HTTP_PORT": "0",
    }
    places = {f"XDG_{name}_HOME": str(folder) for name in ("CACHE", "DATA", "STATE")}
    return await asyncio.create_subprocess_exec(
        *(*by, sys.executable, "-P", "-m", "livekit.agents", "start", str(entrypoint), *options),
        cwd=folder,
        env={name: value for name, value in {**os.environ, **places, **own, **variables}.items() if value},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(folder: Path, *options: str, **variables: str) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a worker that retries once; see `started`."""
    process = await started(folder, options=options, **variables)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_a_server_that_never_answers(tmp_path: Path) -> None:
    """After its retries the worker names the address in one line and exits with 1, without a traceback."""
    url = f"ws://127.0.0.1:{free_ports(1)[0]}"
    code, output, errors = await ended(tmp_path, LIVEKIT_URL=url)
    assert code == 1
    assert "Traceback" not in output + errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"LIVEKIT_URL is {url}, and no LiveKit server took the worker there (failed to connect")
    assert "retrying in 0s" in output + errors
    assert (output + errors).count("no account can be named: FIRSTWORD_ACCOUNT_SOURCES has `claim`") == 1


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The worker names the port and the variable that sets another, and exits with 1, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, errors = await ended(tmp_path, FIRSTWORD_HTTP_PORT=str(port))
    assert code == 1
    assert "Traceback" not in output + errors
    last = errors.splitlines()[-1]
    assert f", {port})" in last
    assert last.endswith("FIRSTWORD_HTTP_PORT: expected a port, or 0 for a free one")


async def test_no_folder_for_temporary_files(tmp_path: Path) -> None:
    """As on a read-only root without a volume: one line, exit code 1, no traceback."""
    nowhere = tmp_path / "nowhere"
    code, output, errors = await ended(tmp_path, FIRSTWORD_TEST_NO_TEMPORARY=str(nowhere))
    assert code == 1
    assert "Traceback" not in output + errors
    assert errors.splitlines()[-1].startswith("no folder for temporary files can be written to (")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["its store is made", "a greeting is asked for"])
async def test_a_worker_ends_well_on_each_signal(moment: str, number: signal.Signals, tmp_path: Path) -> None:
    """Also where SIGINT was ignored at its birth: it is about to connect, no process of its own is left, and nothing is logged as an error."""
    store = tmp_path / "accounts.db"
    async with silent_server() as voice:
        process = await started(
            tmp_path,
            *IN_BACKGROUND,
            FIRSTWORD_STORE_URL=f"sqlite:///{store}",
            FIRSTWORD_PROFILE="tuned",
            DEEPGRAM_BASE_URL=f"http://127.0.0.1:{voice.port}/v1",
        )
        async with asyncio.timeout(STARTED_WITHIN):
            if moment == "its store is made":
                while not store.exists():  # noqa: ASYNC110 - what is waited for happens in another process
                    await asyncio.sleep(0.02)
            else:
                await voice.asked.wait()
        own = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        async with asyncio.timeout(STARTED_WITHIN):
            output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b"Traceback" not in output + errors, output.decode()
    _, left = psutil.wait_procs(own, timeout=STARTED_WITHIN)
    assert not left


async def test_ctrl_c_is_heard_while_processes_are_made(tmp_path: Path) -> None:
    """In a terminal all of the worker's processes get it: the worker ends well, and those that still import say nothing."""
    worker = await started(tmp_path, *IN_A_TERMINAL, FIRSTWORD_IDLE_PROCESSES="2")
    async with asyncio.timeout(STARTED_WITHIN):
        while not any("forkserver" in " ".join(each.cmdline()) for each in psutil.Process(worker.pid).children()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        os.killpg(worker.pid, signal.SIGINT)
        output, errors = await worker.communicate()
    assert worker.returncode == 0, errors.decode()
    assert b"Traceback" not in output + errors, output.decode() + errors.decode()
    assert b"failed to connect" not in output


@pytest.mark.parametrize(("variables", "address"), [({}, "127.0.0.1"), ({"FIRSTWORD_HTTP_HOST": "::1"}, "::1")])
async def test_the_health_check_listens_on_loopback_unless_asked(
    variables: dict[str, str], address: str, tmp_path: Path
) -> None:
    """It tells name, load and jobs of the worker to whoever asks."""
    async with silent_server() as server:
        worker = await started(tmp_path, options=(), LIVEKIT_URL=f"ws://127.0.0.1:{server.port}", **variables)
        try:
            async with asyncio.timeout(60):
                while not (found := listening(worker.pid)):
                    assert worker.returncode is None
                    await asyncio.sleep(0.1)
        finally:
            worker.kill()
            await worker.communicate()
    assert found == {address}


def listening(pid: int) -> set[str]:
    """Addresses on which this process takes connections."""
    connections = psutil.Process(pid).net_connections("tcp")
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


async def test_livekits_own_options_are_settings_too(tmp_path: Path) -> None:
    """What `--url`, `--api-key` and `--api-secret` say is not missing, and goes before the environment."""
    url = f"ws://127.0.0.1:{free_ports(1)[0]}"
    options = ("--url", url, "--api-key", "key", "--api-secret", "a" * 32)
    code, _, errors = await ended(tmp_path, *options, LIVEKIT_API_KEY="", LIVEKIT_API_SECRET="")
    assert code == 1
    assert errors.splitlines()[-1].startswith(f"LIVEKIT_URL is {url}, and no LiveKit server took the worker there")


async def test_what_the_file_says_of_telemetry_and_flags_is_followed_and_doubts_are_said_once(tmp_path: Path) -> None:
    """`.env.local` beside the worker: it warns of a collector that isn't there, a flag it can't take, a key that may be another."""
    flags = {"parallel-init": {"state": "ON"}}
    (tmp_path / "flags.json").write_text(json.dumps({"flags": flags}))
    (tmp_path / ".env.local").write_text(
        f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{free_ports(1)[0]}\n"
        "FLAGD_OFFLINE_FLAG_SOURCE_PATH=flags.json\ndeepgram_api_key=none#ours\n"
    )
    code, output, errors = await ended(tmp_path, FIRSTWORD_PROFILE="", DEEPGRAM_API_KEY="")
    assert code == 1
    said = output + errors
    for line in (
        "DEEPGRAM_API_KEY in .env.local, line 3: its # belongs to the value",
        "OTEL_EXPORTER_OTLP_ENDPOINT: spans to 127.0.0.1",
        "OTEL_EXPORTER_OTLP_ENDPOINT: metrics to 127.0.0.1",
        "parallel-init in flags.json can't be taken: expected an object with",
    ):
        assert said.count(line) == 1, line
    assert "Traceback" not in said


async def test_a_setting_that_is_wrong_ends_it_with_a_line_each(tmp_path: Path) -> None:
    """Exit code 2; of a variable that a line of the file swallowed, that line."""
    (tmp_path / ".env.local").write_text("OPENAI_API_KEY='none\nFIRSTWORD_FIXED_LOAD=0.7\n")
    code, output, errors = await ended(tmp_path, OPENAI_API_KEY="")
    assert (code, output) == (2, "")
    assert errors.splitlines() == [
        "OPENAI_API_KEY in .env.local, line 1: expected quotes around the whole value, or none; possible cause: a ' that is left open",
        "FIRSTWORD_FIXED_LOAD is '0.7'; expected a number from 0 to less than 0.7, at which LiveKit gives the worker no job",
    ]


async def test_a_cache_that_no_connection_can_be_made_to(tmp_path: Path) -> None:
    """What is wrong with the cache's URL, and only its client can tell, is found at the start, and told likewise."""
    code, output, errors = await ended(tmp_path, FIRSTWORD_CACHE_URL="redis://:hush@host?socket_timeout=soon")
    assert (code, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("FIRSTWORD_CACHE_URL is wrong")
    assert "hush" not in line
