"""A rehearsal: its order, its workers' environment, and runs of it on a real server."""

import asyncio
import json
import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from livekit import api, rtc
from livekit.rtc.participant import PublishTrackError

from firstword.agent.flags.location import shipped_file
from firstword.rehearsal.agent_side.loopback import is_loopback
from firstword.rehearsal.callers import AUDIBLE, BACKGROUND, EAR_RATE, MICROPHONE_RATE, RehearsalCaller, join_token
from firstword.rehearsal.environment import LOCAL, MissingKeys, choose, own_store
from firstword.rehearsal.missed import missed_of_tone
from firstword.rehearsal.processes import ServerFailed, free_ports
from firstword.rehearsal.rehearse import Group, Rehearsal, groups, rehearse
from firstword.rehearsal.result import LOGS, TRACES
from firstword.rehearsal.servers import Progress
from firstword.rehearsal.stack import LocalStack, NotUsable, Stack
from firstword.rehearsal.tone import SAMPLE_RATE, TONE
from firstword.rehearsal.workers import WorkerState, dropped_variables, running_worker
from firstword.telemetry.record import Dispatch
from firstword.telemetry.vocabulary import FLAGS_BY
from firstword.tuning.files import Files
from firstword.tuning.sources import Query
from firstword.tuning.start import start_of
from tests.leftovers import left_of


def test_each_round_begins_with_another_profile() -> None:
    """The floor is always there; no profile always goes first, and no two rounds have the same order."""
    order = [group.profile for group in groups(Rehearsal(("baseline", "tuned"), sessions=3))]
    assert order == [
        *("floor", "baseline", "tuned"),
        *("baseline", "tuned", "floor"),
        *("tuned", "floor", "baseline"),
    ]


def test_callers_at_once_are_of_one_profile() -> None:
    """Seven sessions by three at once: the last group is what is left."""
    assert list(groups(Rehearsal(("tuned",), sessions=7, concurrency=3))) == [
        *(Group("floor", 0, 3), Group("tuned", 0, 3)),
        *(Group("tuned", 3, 3), Group("floor", 3, 3)),
        *(Group("floor", 6, 1), Group("tuned", 6, 1)),
    ]


def test_every_profile_has_its_sessions() -> None:
    """However many callers are at once, each profile gets the number asked for."""
    count: Counter[str] = Counter()
    for group in groups(Rehearsal(("baseline", "tuned"), sessions=10, concurrency=4)):
        count[group.profile] += group.size
    assert count == {"floor": 10, "baseline": 10, "tuned": 10}


def test_the_log_says_how_a_worker_stands() -> None:
    """Ready processes, jobs and their ends are counted; what isn't LiveKit's JSON changes nothing."""
    state = WorkerState()
    for record in (
        {"message": "process initialized", "pid": 7},
        {"message": "process initialized", "pid": 8},
        {"message": "registered worker"},
        {"message": "received job request"},
        {"message": "process initialized", "pid": 9},
        {"message": "process exiting", "pid": 7},
        {"message": "process exited with non-zero exit code 255", "pid": 8},
        {"message": "a plugin says hello"},
    ):
        state = state.after(json.dumps(record))
    for noise in ("not JSON", "[1]", '"registered worker"', ""):
        state = state.after(noise)
    assert state == WorkerState(registered=True, warmed=3, taken=1, ended=frozenset({7, 8}))


def test_threads_are_told_from_processes() -> None:
    """Their runners are counted alike."""
    assert WorkerState().after('{"message": "job runner initialized"}') == WorkerState(warmed=1, threads=True)


def test_a_worker_sees_no_key_and_no_address_of_the_shell() -> None:
    """What shapes the worker stays: its executor, its idle processes."""
    shell = [
        *("LIVEKIT_URL", "LIVEKIT_API_SECRET", "LIVEKIT_AGENT_NAME_OVERRIDE", "OPENAI_API_KEY", "DEEPGRAM_API_KEY"),
        *("OTEL_EXPORTER_OTLP_ENDPOINT", "FLAGD_HOST", "FIRSTWORD_STORE_URL", "FIRSTWORD_ACCOUNT_KEY"),
        *("https_proxy", "HTTP_PROXY", "PYTHONDONTWRITEBYTECODE", "openai_api_key", "otel_exporter_otlp_endpoint"),
    ]
    kept = ["PATH", "HOME", "FIRSTWORD_EXECUTOR", "FIRSTWORD_IDLE_PROCESSES"]
    assert dropped_variables([*shell, *kept]) == set(shell)


async def test_a_worker_has_what_the_rehearsal_gives_it_whatever_the_shell_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that is set for production has variables of the same names."""
    names = ("LIVEKIT_URL", "FIRSTWORD_AGENT_NAME", "FIRSTWORD_FIXED_LOAD", "OPENAI_BASE_URL")
    for name in (*names, "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "the shell's")
    printer = tmp_path / "python"
    printer.write_text("#!/bin/sh\nexec env\n")
    printer.chmod(0o755)
    stack = Stack(livekit_url="ws://here", api_key="key", api_secret="secret", pid=0)
    simulated = {"OPENAI_BASE_URL": "http://there"}
    async with running_worker(
        "floor", agent_name="x", folder=tmp_path, stack=stack, environment=simulated, python=printer
    ) as worker:
        with pytest.raises(ServerFailed):
            await worker.registered()
    seen = dict(line.split("=", 1) for line in (tmp_path / LOGS / "floor.log").read_text().splitlines() if "=" in line)
    assert [seen.get(name) for name in names] == ["ws://here", "x", "0.1", "http://there"]
    assert "OPENAI_API_KEY" not in seen


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://localhost:7880", True),
        ("http://127.0.0.1:9/v1", True),
        ("ws://127.8.9.1:7880", True),
        ("ws://[::1]:7880", True),
        ("wss://example.livekit.cloud", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_only_loopback_is_local(url: str, expected: bool) -> None:
    """An address that merely looks local is not."""
    assert is_loopback(url) is expected


@pytest.fixture
def no_stack_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder in which no `firstword up` has said where it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("no_stack_runs")
async def test_keys_and_addresses_elsewhere_are_not_used() -> None:
    """A shell set for production rehearses on this machine all the same."""
    shell = {
        "LIVEKIT_URL": "wss://example.livekit.cloud",
        "LIVEKIT_API_KEY": "APIxyz",
        "LIVEKIT_API_SECRET": "hidden",
        "OPENAI_API_KEY": "sk-hidden",
        "OPENAI_BASE_URL": "https://llm.example.com/v1",
    }
    choice = await choose(shell)
    assert choice.stack is None
    assert choice.providers == {"openai": None, "deepgram": None}
    assert choice.sentence == "LiveKit: a server of its own on this machine. Providers: simulated."


async def test_loopback_addresses_are_used() -> None:
    """With the key of `livekit-server --dev` where none is set, and the simulator for the provider that isn't there."""
    choice = await choose({"LIVEKIT_URL": "ws://127.0.0.1:7880", "OPENAI_BASE_URL": "http://localhost:11434/v1"})
    assert choice.stack == Stack("ws://127.0.0.1:7880", "devkey", "secret", pid=0)
    assert choice.providers_in_words == "openai http://localhost:11434/v1, deepgram simulated"


async def test_real_names_the_keys_that_are_missing() -> None:
    """And shows none that is there."""
    shell = {"LIVEKIT_URL": "wss://example.livekit.cloud", "LIVEKIT_API_KEY": "APIxyz", "OPENAI_API_KEY": "sk-hidden"}
    with pytest.raises(MissingKeys) as error:
        await choose(shell, real=True)
    assert str(error.value) == "--real needs DEEPGRAM_API_KEY, LIVEKIT_API_SECRET in the environment or in .env.local"


async def test_real_uses_what_is_set() -> None:
    """The server and the key of the shell, and the providers themselves."""
    shell = {
        name: name.lower() for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY")
    }
    choice = await choose({**shell, "LIVEKIT_URL": "wss://example.livekit.cloud"}, real=True)
    assert choice.stack == Stack("wss://example.livekit.cloud", "livekit_api_key", "livekit_api_secret", pid=0)
    assert choice.providers == {"openai": "https://api.openai.com/v1", "deepgram": "https://api.deepgram.com/v1"}
    assert own_store(choice, Path(), "tuned") == {}


async def test_a_server_of_the_shell_that_is_away_ends_a_rehearsal_at_once(tmp_path: Path) -> None:
    """The error names the address and the variable; no worker is started to wait for it."""
    url = f"ws://127.0.0.1:{free_ports(1)[0]}"
    choice = await choose({"LIVEKIT_URL": url, "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "x" * 32})
    with pytest.raises(NotUsable, match=rf"nothing answers at {url} \(LIVEKIT_URL\)"):
        await rehearse(Rehearsal(()), choice, tmp_path)
    assert not os.listdir(tmp_path / LOGS)


@pytest.mark.real
async def test_strangers_come_after_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not called before has neither account nor greeting cached. By a flag file nobody has an account: each
    session is a draw, by its room."""
    monkeypatch.setenv("FIRSTWORD_IDLE_PROCESSES", "1")  # fewer to import
    flags = tmp_path / "flags.json"
    flags.write_bytes(shipped_file().read_bytes())
    ahead = Rehearsal(("tuned",), 1, Dispatch.AHEAD, ahead_by=1.0, stay=0.2, strangers=True, flags=flags)
    result = await rehearse(ahead, LOCAL, tmp_path)
    traces = [
        trace
        for profile in ("flags", "tuned")
        for trace in Files(tmp_path / TRACES / profile).traces(Query(), lambda _: None)
        if trace.is_start
    ]
    found = [{task.name: task.cache for task in start.tasks if task.cache} for start in map(start_of, traces)]
    assert [trace.root.attributes.get(FLAGS_BY) for trace in traces] == ["room", None]
    assert {trace.root.attributes["startup.dispatch"] for trace in traces} == {result.dispatch} == {"ahead"}
    assert result.unheard == 0
    assert found == [{"greeting": "hit"}, {"account": "miss", "greeting": "miss"}]
    assert not left_of(tmp_path)


@pytest.mark.real
async def test_an_interrupted_run_gives_what_it_has(tmp_path: Path) -> None:
    """Cancelled in the floor's third session it ends its servers, and returns the two that were heard."""
    told: list[Progress] = []
    third = asyncio.Event()

    def report(now: Progress) -> None:
        told.append(now)
        if now.doing.startswith("session 3"):
            third.set()

    run = asyncio.create_task(rehearse(Rehearsal((), sessions=50, stay=0.1), LOCAL, tmp_path, report=report))
    await third.wait()
    run.cancel()
    result = await run
    floor = result.profiles["floor"]
    assert (result.interrupted, floor.sessions, floor.errors, floor.ttfw_s) == (True, 2, 0, None)
    assert floor.heard_s is not None
    assert math.isfinite(floor.heard_s.max)
    assert [now.done for now in told if now.doing.startswith("session")] == [0, 1, 1, 2, 2]
    assert not left_of(tmp_path)


@pytest.mark.livekit
async def test_nobody_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller in a room without an agent hears nothing, and says so in time. One whose microphone is not taken is not connected."""

    async def refuse(*_: object) -> None:
        raise PublishTrackError("no response from the server")

    async with LocalStack(tmp_path) as stack:
        caller = RehearsalCaller(stack.livekit_url, join_token(stack, room="empty", identity="caller"))
        await caller.connect()
        with pytest.raises(TimeoutError):
            await caller.hear(0.3)
        monkeypatch.setattr(rtc.LocalParticipant, "publish_track", refuse)
        other = RehearsalCaller(stack.livekit_url, join_token(stack, room="empty", identity="other"))
        with pytest.raises(rtc.ConnectError, match="no response"):
            await other.connect()
        await other.leave()
        await caller.leave()


@pytest.mark.real
async def test_background_audio_is_not_heard(tmp_path: Path) -> None:
    """An agent's ambience comes first, then its voice, on a track of any name: the voice is what was heard, from then on."""
    tone = rtc.AudioFrame(TONE.tobytes(), SAMPLE_RATE, 1, len(TONE))
    async with LocalStack(tmp_path) as stack:
        grants = api.VideoGrants(room_join=True, room="ambient")
        token = api.AccessToken(stack.api_key, stack.api_secret).with_identity("agent").with_kind("agent")
        room = rtc.Room()
        await room.connect(stack.livekit_url, token.with_grants(grants).to_jwt())

        async def publish(name: str) -> rtc.AudioSource:
            source = rtc.AudioSource(SAMPLE_RATE, 1)
            track = rtc.LocalAudioTrack.create_audio_track(name, source)
            published = await room.local_participant.publish_track(track, rtc.TrackPublishOptions())
            await published.wait_for_subscription()
            return source

        caller = RehearsalCaller(stack.livekit_url, join_token(stack, room="ambient", identity="caller"), record=True)
        await caller.connect()
        await (await publish(BACKGROUND)).capture_frame(tone)
        with pytest.raises(TimeoutError):
            await caller.hear(1.5)
        await (await publish("somebody's own")).capture_frame(tone)
        await caller.hear(10)
        await caller.hear_out(0.6)
        heard = caller.voice()
        await caller.leave()
        await room.disconnect()
    assert missed_of_tone(heard).total_ms < 500
    assert np.count_nonzero(np.abs(heard) > AUDIBLE) / EAR_RATE < 1.1


@pytest.mark.livekit
async def test_a_worker_that_ends_says_why(tmp_path: Path) -> None:
    """Its last words are in the error."""
    async with (
        LocalStack(tmp_path) as stack,
        running_worker(
            "floor", agent_name="x", folder=tmp_path, stack=stack, environment={"FIRSTWORD_EXECUTOR": "fork"}
        ) as worker,
    ):
        with pytest.raises(ServerFailed, match="'fork' is not a valid JobExecutorType"):
            await worker.registered()


@pytest.mark.real
async def test_a_caller_speaks_hangs_up_and_comes_back(tmp_path: Path) -> None:
    """What is said reaches the agent as a tone of that frequency; the agent sees the caller go and return."""
    async with LocalStack(tmp_path) as stack:
        token = join_token(stack, room="talk", identity="caller", attributes={"firstword.account": "1001"})
        caller = RehearsalCaller(stack.livekit_url, token)
        room, seen, tracks = rtc.Room(), list[str](), asyncio.Queue[rtc.Track]()

        def came(who: rtc.RemoteParticipant) -> None:
            seen.append(f"{who.identity} of {who.attributes} came")

        def went(who: rtc.RemoteParticipant) -> None:
            seen.append(f"{who.identity} went")

        def subscribed(track: rtc.Track, *_: object) -> None:
            tracks.put_nowait(track)

        room.on("participant_connected", came)  # pyright: ignore[reportUnknownMemberType]  # rtc's callbacks are untyped
        room.on("participant_disconnected", went)  # pyright: ignore[reportUnknownMemberType]
        room.on("track_subscribed", subscribed)  # pyright: ignore[reportUnknownMemberType]
        await room.connect(stack.livekit_url, join_token(stack, room="talk", identity="agent"))

        await caller.connect()
        stream = rtc.AudioStream(await tracks.get(), sample_rate=MICROPHONE_RATE)
        saying = asyncio.create_task(caller.say(500, 1.0))
        async for event in stream:
            samples = np.frombuffer(event.frame.data, dtype=np.int16)
            if np.abs(samples).max() > 5_000:
                break
        tone = np.concatenate([np.frombuffer((await anext(stream)).frame.data, dtype=np.int16) for _ in range(40)])
        assert np.argmax(np.abs(np.fft.rfft(tone))) * MICROPHONE_RATE / len(tone) == pytest.approx(500, abs=5)
        await saying
        await stream.aclose()
        await caller.leave()
        await caller.connect()
        await tracks.get()
        await caller.leave()
        await room.disconnect()
    coming = "caller of {'firstword.account': '1001'} came"
    assert seen[:3] == [coming, "caller went", coming]
