"""Which request an answer answers, and what was made beside the path and needed on it: without the path's own it would have been waited for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from socket import socket

import pytest
from livekit.agents import inference, utils

from firstword.rehearsal.providers.latency import Latencies
from firstword.rehearsal.providers.server import simulators
from firstword.telemetry import vocabulary as words
from firstword.telemetry.beside_path import BesideWork
from firstword.telemetry.observed_layout import lay_out_observed
from firstword.telemetry.observed_path import ObservedKind, ObservedPiece
from firstword.telemetry.record import Outcome, Phase, Start
from tests.telemetry.observed_agents import SLOW, Seen, line_of, observe, server, written

MS = 1_000_000
CREATED = 0.05


def answer_the_first(connection: socket) -> None:
    """A voice that speaks a first sentence: 0.3 s after the first bytes."""
    connection.recv(1)
    time.sleep(SLOW)
    connection.sendall(b"!\n")


def acknowledge(connection: socket) -> None:
    """Tells at once that a session is there; what is asked it answers after 0.3 s."""
    while b"?" not in connection.recv(100):
        pass
    connection.sendall(b"created\n")
    time.sleep(SLOW)
    connection.sendall(b"!\n")


def create_slowly(connection: socket) -> None:
    """Takes a while until a session is there, and answers what is asked of it."""
    connection.recv(100)
    time.sleep(CREATED)
    connection.sendall(b"created\n")
    connection.recv(100)
    time.sleep(SLOW)
    connection.sendall(b"!\n")


def answer_the_last(connection: socket) -> None:
    """Hears a microphone, and answers once all was said."""
    heard = b""
    while b"." not in heard:
        heard += connection.recv(100)
    connection.sendall(b"!\n")


async def asked(folder: Path, source: str, serve: Callable[[socket], None], *arguments: object) -> Seen:
    """Observes the function `root` of a program, which is given the port of a server, and these arguments."""
    module = written(folder, source)
    with server(serve) as port:
        return await observe(module.root, port, *arguments)


def answers(run: Seen, line: int) -> list[ObservedPiece]:
    """Waits for the network at a line, not those of a moment."""
    return [
        piece
        for piece in run.pieces
        if piece.kind is ObservedKind.NETWORK and piece.line and piece.line.line == line and lasted(piece) > 0.01
    ]


def lasted(piece: ObservedPiece) -> float:
    """Seconds."""
    return (piece.end - piece.start) / 1e9


async def test_the_first_of_two_requests_is_answered_first(tmp_path: Path) -> None:
    """The second sentence is written while the first is being spoken: the wait began with the first."""
    run = await asked(
        tmp_path,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"1")
    await asyncio.sleep(0.1)
    writer.write(b"2")
    await reader.readline()  # here
    writer.close()
""",
        answer_the_first,
    )
    (piece,) = answers(run, line_of(tmp_path))
    assert lasted(piece) >= SLOW


async def test_what_acknowledges_does_not_answer(tmp_path: Path) -> None:
    """A session is made and used at once: the first read is of the former, the second of the latter."""
    run = await asked(
        tmp_path,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"create")
    writer.write(b"?")
    await reader.readline()
    await reader.readline()  # here
    writer.close()
""",
        acknowledge,
    )
    (piece,) = answers(run, line_of(tmp_path))
    assert lasted(piece) >= SLOW


async def test_a_stream_is_answered_at_its_end(tmp_path: Path) -> None:
    """The caller's voice is sent in many pieces: what comes then was not waited for since the first."""
    run = await asked(
        tmp_path,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(10):
        await asyncio.sleep(0.05)
        writer.write(b"." if number == 9 else b"-")
    await reader.readline()
    writer.close()
""",
        answer_the_last,
    )
    assert sum(lasted(piece) for piece in run.pieces if piece.kind is ObservedKind.TIMER) >= 10 * 0.05 - 0.01


async def test_a_connection_that_is_made_beside_the_path(tmp_path: Path) -> None:
    """What was asked on it could not have been asked before it was there."""
    run = await asked(
        tmp_path,
        """
import asyncio
async def connect(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"create")
    await reader.readline()
    return reader, writer
async def root(port):
    connecting = asyncio.create_task(connect(port))
    await asyncio.sleep(0.5)
    reader, writer = await connecting
    writer.write(b"?")
    await reader.readline()  # here
    writer.close()
""",
        create_slowly,
    )
    (work,) = run.beside
    (answer,) = answers(run, line_of(tmp_path))
    assert run.begin <= work.began < work.ready - CREATED * 1e9 < work.needed == answer.start


async def test_a_connection_that_is_made_on_the_path(tmp_path: Path) -> None:
    """It is a piece itself, and nothing beside."""
    run = await asked(
        tmp_path,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"create")
    await reader.readline()
    writer.write(b"?")
    await reader.readline()  # here
    writer.close()
""",
        create_slowly,
    )
    assert run.beside == []


async def test_of_two_that_were_waited_for_the_sooner_is_beside(tmp_path: Path) -> None:
    """From where both began until it was there; the path waited for the other."""
    module = written(
        tmp_path,
        """
import asyncio
async def other():
    await asyncio.sleep(0.3)  # here
async def root():
    task = asyncio.create_task(other())
    await asyncio.sleep(0.1)
    await task
""",
    )
    run = await observe(module.root)
    (work,) = run.beside
    assert run.kinds(line_of(tmp_path))[ObservedKind.TIMER] >= 0.29
    assert run.begin <= work.began <= work.ready - 0.09e9
    assert work.needed >= work.began + 0.29e9


async def test_what_the_loop_delayed_beside_the_path(tmp_path: Path) -> None:
    """Its timer was due while the path's own task computed."""
    module = written(
        tmp_path,
        """
import asyncio, time
async def other():
    await asyncio.sleep(0.05)
async def slow():
    await asyncio.sleep(0.01)
    time.sleep(0.2)
    await asyncio.sleep(0.1)
async def root():
    task = asyncio.create_task(other())
    slower = asyncio.create_task(slow())
    await task
    await slower
""",
    )
    run = await observe(module.root)
    (work,) = run.beside
    assert 0.15e9 < work.delayed <= work.ready - work.began - 0.04e9


def test_the_root_tells_of_it() -> None:
    """In microseconds from its begin."""
    beside = (BesideWork(100 * MS, 220 * MS, 500 * MS, 30 * MS),)
    pieces = (
        ObservedPiece(ObservedKind.NETWORK, 0, 500 * MS),
        ObservedPiece(ObservedKind.NETWORK, 500 * MS, 750 * MS, beside=beside),
    )
    moved = [piece.moved(7 * MS) for piece in pieces]
    end = moved[-1].end
    start = Start(7 * MS, end, 7 * MS, Outcome.FIRST_WORD, (), (Phase(words.GREET, 7 * MS, end),), None)
    assert lay_out_observed(start, moved)[0].attributes[words.BESIDE] == "100000+120000-30000>500000"
    assert words.BESIDE not in lay_out_observed(start, [moved[0]])[0].attributes


@pytest.mark.parametrize("ahead", [False, True])
async def test_the_voice_of_livekit_inference(ahead: bool) -> None:
    """Its connection is made by aiohttp, in a task that LiveKit made of it: it is the voice's, on the path or beside."""

    async def speak(voice: inference.TTS) -> None:
        if ahead:
            voice.prewarm()
            await asyncio.sleep(0.5)
        async with voice.stream() as stream:
            stream.push_text("Hello.")
            stream.end_input()
            await anext(stream)

    async with simulators(Latencies.load()) as addresses, utils.http_context.open():
        voice = inference.TTS("cartesia/sonic-3", base_url=addresses.inference, api_key="key", api_secret="secret" * 6)
        run = await observe(speak, voice)
        await voice.aclose()
    network = [piece for piece in run.pieces if piece.kind is ObservedKind.NETWORK and lasted(piece) > 0.05]
    assert ("TTS._connect_ws" in {piece.inside for piece in network}) is not ahead
    connections = [work for work in run.beside if work.ready - work.began > 0.05e9 and work.needed == network[-1].start]
    assert len(connections) == ahead


async def test_a_stream_is_no_other_need(tmp_path: Path) -> None:
    """The tokens before the one that was waited for came the same way, through tasks that hand them on and make a sentence."""
    waiting = threading.Event()

    def stream(connection: socket) -> None:
        connection.recv(100)
        for _ in range(5):
            time.sleep(0.03)
            connection.sendall(b"token\n")
        waiting.wait()
        time.sleep(0.03)
        connection.sendall(b"token\n")

    run = await asked(
        tmp_path,
        """
import asyncio
async def hand_on(reader, tokens):
    while token := await reader.readline():
        tokens.put_nowait(token)
async def assemble(tokens, sentences):
    sentences.put_nowait([await tokens.get() for _ in range(6)])
async def root(port, waiting):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    tokens, sentences = asyncio.Queue(), asyncio.Queue()
    tasks = [asyncio.create_task(hand_on(reader, tokens)), asyncio.create_task(assemble(tokens, sentences))]
    writer.write(b"?")
    await asyncio.sleep(0.3)
    waiting.set()
    await sentences.get()  # here
    writer.close()
""",
        stream,
        waiting,
    )
    assert answers(run, line_of(tmp_path))
    assert run.beside == []
