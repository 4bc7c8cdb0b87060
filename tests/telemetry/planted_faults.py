"""Small agents with one known fault each."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import NamedTuple

from firstword.telemetry.observed_path import ObservedKind
from tests.telemetry.planted_servers import answer_slowly, speak_first, stream


class Fault(NamedTuple):
    """An agent whose line `# here` takes 0.3 s, the kind of that wait, and what listens on the agent's port."""

    kind: ObservedKind
    source: str
    serve: Callable[[socket], None] = answer_slowly
    library: str = ""


FAULTS = {
    "blocking read": Fault(
        ObservedKind.COMPUTING,
        """
import asyncio, socket
async def root(port):
    await asyncio.sleep(0.01)
    with socket.create_connection(("127.0.0.1", port)) as blocking:
        blocking.sendall(b"?")
        blocking.recv(100)  # here
    await asyncio.sleep(0.01)
""",
    ),
    "computing": Fault(
        ObservedKind.COMPUTING,
        """
import asyncio, time
def compute(end):
    while time.perf_counter() < end: pass  # here
async def root(port):
    await asyncio.sleep(0.01)
    compute(time.perf_counter() + 0.3)
    await asyncio.sleep(0.01)
""",
    ),
    "computing before the first await": Fault(
        ObservedKind.COMPUTING,
        """
import asyncio, time
async def root(port):
    time.sleep(0.3)  # here
    await asyncio.sleep(0.01)
""",
    ),
    "another task holds the loop": Fault(
        ObservedKind.EVENT_LOOP,
        """
import asyncio, time
async def greedy():
    await asyncio.sleep(0.01)
    time.sleep(0.5)
async def root(port):
    task = asyncio.create_task(greedy())
    await asyncio.sleep(0.2)  # here
""",
    ),
    "timer": Fault(
        ObservedKind.TIMER,
        """
import asyncio
async def root(port):
    await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # here
""",
    ),
    "lock": Fault(
        ObservedKind.TIMER,
        """
import asyncio
async def holder(lock):
    async with lock:
        await asyncio.sleep(0.3)  # here
async def root(port):
    lock = asyncio.Lock()
    task = asyncio.create_task(holder(lock))
    await asyncio.sleep(0)
    async with lock:
        await asyncio.sleep(0.01)
""",
    ),
    "thread": Fault(
        ObservedKind.THREAD,
        """
import asyncio, time
async def root(port):
    await asyncio.sleep(0.01)
    await asyncio.to_thread(time.sleep, 0.3)  # here
""",
    ),
    "no free thread": Fault(
        ObservedKind.THREAD,
        """
import asyncio, time
from concurrent.futures import ThreadPoolExecutor
async def root(port):
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        other = loop.run_in_executor(pool, time.sleep, 0.28)
        await loop.run_in_executor(pool, time.sleep, 0.02)  # here
""",
    ),
    "executor that pickles": Fault(
        ObservedKind.THREAD,
        """
import asyncio, pickle, time
from concurrent.futures import Executor, ThreadPoolExecutor
class Processes(Executor):
    def __init__(self):
        self.pool = ThreadPoolExecutor(1)
    def submit(self, function, /, *arguments):
        return self.pool.submit(pickle.loads(pickle.dumps(function)), *arguments)
async def root(port):
    loop = asyncio.get_running_loop()
    processes = Processes()
    await loop.run_in_executor(processes, time.sleep, 0.3)  # here
    processes.pool.shutdown()
""",
    ),
    "native thread": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio, threading
async def root(port):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    threading.Timer(0.3, loop.call_soon_threadsafe, [future.set_result, None]).start()
    await future  # here
""",
    ),
    "native events through a pump": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio, threading, time
async def pump(queue, futures):
    while futures:
        await queue.get()
        futures.pop(0).set_result(None)
async def root(port):
    loop = asyncio.get_running_loop()
    queue, futures = asyncio.Queue(), [loop.create_future() for _ in range(4)]
    first, second, third, last = futures
    task = asyncio.create_task(pump(queue, futures))
    def events():
        for wait in (0.01, 0.01, 0.01, 0.3):
            time.sleep(wait)
            loop.call_soon_threadsafe(queue.put_nowait, None)
    thread = threading.Thread(target=events)
    thread.start()
    await first
    await second
    await third
    await last  # here
    thread.join()
""",
    ),
    "native event among others": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio, threading, time
async def pump(queue, future):
    while await queue.get():
        pass
    future.set_result(None)
async def root(port):
    loop = asyncio.get_running_loop()
    queue, future = asyncio.Queue(), loop.create_future()
    task = asyncio.create_task(pump(queue, future))
    def events():
        for left in range(6, -1, -1):
            time.sleep(0.05)
            loop.call_soon_threadsafe(queue.put_nowait, left)
    thread = threading.Thread(target=events)
    thread.start()
    await asyncio.sleep(0.02)
    await future  # here
    thread.join()
""",
    ),
    "native event that came before its need": Fault(
        ObservedKind.COMPUTING,
        """
import asyncio, threading, time
async def pump(queue, heard):
    while True:
        await queue.get()
        for each in heard:
            each.set()
async def root(port):
    loop = asyncio.get_running_loop()
    queue, heard, event = asyncio.Queue(), [], asyncio.Event()
    task = asyncio.create_task(pump(queue, heard))
    await asyncio.sleep(0.01)
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(queue.put_nowait, None))
    thread.start()
    thread.join()
    await asyncio.sleep(0)
    heard.append(event)  # the event is in the queue, and the pump has not run yet
    time.sleep(0.3)  # here
    await event.wait()
    task.cancel()
""",
    ),
    "sound of the caller": Fault(
        ObservedKind.CALLER_SOUND,
        """
import asyncio, threading, time
from livekit.rtc._proto.ffi_pb2 import FfiEvent
async def root(port):
    loop = asyncio.get_running_loop()
    frames = asyncio.Queue()
    def come():
        for _ in range(6):
            time.sleep(0.05)
            event = FfiEvent()
            event.audio_stream_event.stream_handle = 1
            loop.call_soon_threadsafe(frames.put_nowait, event)
    thread = threading.Thread(target=come)
    thread.start()
    for _ in range(6):
        await frames.get()  # here
    thread.join()
""",
    ),
    "another event of the native client": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio, threading
from livekit.rtc._proto.ffi_pb2 import FfiEvent
async def root(port):
    loop = asyncio.get_running_loop()
    events = asyncio.Queue()
    event = FfiEvent()
    event.room_event.room_handle = 1
    threading.Timer(0.3, loop.call_soon_threadsafe, [events.put_nowait, event]).start()
    await events.get()  # here
""",
    ),
    "another class of that name": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio, threading
class FfiEvent: pass
async def root(port):
    loop = asyncio.get_running_loop()
    events = asyncio.Queue()
    threading.Timer(0.3, loop.call_soon_threadsafe, [events.put_nowait, FfiEvent()]).start()
    await events.get()  # here
""",
    ),
    "subprocess": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio
async def root(port):
    process = await asyncio.create_subprocess_exec("sleep", "0.3")
    await process.wait()  # here
""",
    ),
    "pipe of a subprocess": Fault(
        ObservedKind.OUTSIDE,
        """
import asyncio
async def root(port):
    process = await asyncio.create_subprocess_shell("sleep 0.3; echo line; sleep 0.01", stdout=asyncio.subprocess.PIPE)
    await process.stdout.readline()  # here
    await process.wait()
""",
    ),
    "slow provider": Fault(
        ObservedKind.NETWORK,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"?")
    await reader.readline()  # here
    writer.close()
    await writer.wait_closed()
""",
    ),
    "writelines": Fault(
        ObservedKind.NETWORK,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.writelines([b"?", b"?"])
    await reader.readline()  # here
    writer.close()
    await writer.wait_closed()
""",
    ),
    "asked ahead, waited for late": Fault(
        ObservedKind.NETWORK,
        """
import asyncio
async def fetch(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"?")
    await reader.readline()  # here
    writer.close()
    await writer.wait_closed()
async def root(port):
    task = asyncio.create_task(fetch(port))
    await asyncio.sleep(0.25)
    await task
""",
    ),
    "server that speaks first": Fault(
        ObservedKind.NETWORK,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()  # here
    writer.close()
    await writer.wait_closed()
""",
        speak_first,
    ),
    "streamed answer": Fault(
        ObservedKind.NETWORK,
        """
import asyncio
async def root(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"?")
    while await reader.readline() != b"end\\n":  # here
        pass
    writer.close()
    await writer.wait_closed()
""",
        stream,
    ),
    "sockets of the loop": Fault(
        ObservedKind.NETWORK,
        """
import asyncio, socket
async def root(port):
    loop = asyncio.get_running_loop()
    with socket.socket() as plain:
        plain.setblocking(False)
        await loop.sock_connect(plain, ("127.0.0.1", port))
        await loop.sock_sendall(plain, b"?")
        await loop.sock_recv(plain, 100)  # here
""",
    ),
    "connection, asked for ahead": Fault(
        ObservedKind.NETWORK,
        """
import asyncio, contextlib, socket, threading, time
class Unconnected(socket.socket):
    def connect(self, address):
        raise BlockingIOError
    def getsockopt(self, *arguments):
        return 0
async def connect(plain):
    await asyncio.get_running_loop().sock_connect(plain, "anywhere")  # here
async def root(port):
    ours, theirs = socket.socketpair()
    with theirs, Unconnected(fileno=ours.detach()) as plain:
        plain.setblocking(False)
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while plain.send(bytes(100_000)):
                pass
        def let_connect():
            time.sleep(0.3)
            with contextlib.suppress(BlockingIOError):
                while theirs.recv(100_000):
                    pass
        thread = threading.Thread(target=let_connect)
        task = asyncio.create_task(connect(plain))
        await asyncio.sleep(0)
        thread.start()
        await asyncio.sleep(0.25)
        await task
        thread.join()
""",
    ),
    "a task of a library": Fault(
        ObservedKind.NETWORK,
        """
import asyncio
import library
async def root(port):
    await asyncio.sleep(0.01)
    await library.ask(port)  # here
""",
        library="""
import asyncio
async def _receive(reader):
    return await reader.readline()
async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"?")
    await asyncio.create_task(_receive(reader))
    writer.close()
    await writer.wait_closed()
""",
    ),
    "a task that a library's task made": Fault(
        ObservedKind.TIMER,
        """
import asyncio
import library
async def root(port):
    await asyncio.sleep(0.01)
    await library.start()  # here
""",
        library="""
import asyncio
async def work():
    await asyncio.sleep(0.3)
async def begin():
    await asyncio.sleep(0)
    await asyncio.create_task(work())
async def start():
    await asyncio.create_task(begin())
""",
    ),
    "an async generator of a library": Fault(
        ObservedKind.TIMER,
        """
import asyncio
import library
async def root(port):
    await asyncio.sleep(0.01)
    async for _ in library.chunks():  # here
        pass
""",
        library="""
import asyncio
async def chunks():
    for _ in range(3):
        await asyncio.sleep(0.1)
        yield 1
""",
    ),
}
