"""The parts of `tests.telemetry.loop_programs`: pieces of asyncio as text, each with the rule by which it ends.

A leaf waits for so long. Any other part has parts of its own, and lets one of them decide when it ends: the last, the first, one
after the other. Nothing here looks at an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Wait(NamedTuple):
    """One wait of the chain, in ms from the program's begin; `line` is the one that waits, or that set the timer."""

    kind: str
    line: int
    begin: float
    end: float


@dataclass(frozen=True)
class Way:
    """How a part of a program goes, begun at an instant."""

    end: float
    chain: tuple[Wait, ...]


Part = Callable[[float], Way]
"""From when a part begins (ms) to how it goes."""
Rule = Callable[[float, Sequence[Part], Wait], Way]
"""From a begin, the parts, and a wait of the node's own to how the node goes."""


def one_after_the_other(begin: float, parts: Sequence[Part], _: Wait) -> Way:
    """The node ends when its last part does, which begins when the one before ends."""
    chain: tuple[Wait, ...] = ()
    for part in parts:
        way = part(begin)
        begin, chain = way.end, chain + way.chain
    return Way(begin, chain)


def the_last(begin: float, parts: Sequence[Part], _: Wait) -> Way:
    """All begin together; the node ends with the one that takes longest."""
    return max((part(begin) for part in parts), key=lambda way: way.end)


def the_first(begin: float, parts: Sequence[Part], _: Wait) -> Way:
    """All begin together; the node ends with the one that takes least."""
    return min((part(begin) for part in parts), key=lambda way: way.end)


def the_second(begin: float, parts: Sequence[Part], _: Wait) -> Way:
    """Both begin together; the node ends when the second part does, whatever the first has done."""
    return parts[1](begin)


def its_own(begin: float, parts: Sequence[Part], own: Wait) -> Way:
    """A leaf."""
    return Way(own.end, (own,))


def its_own_or_the_part(begin: float, parts: Sequence[Part], own: Wait) -> Way:
    """A timeout: what comes first."""
    return the_first(begin, [*parts, lambda _: Way(own.end, (own,))], own)


def its_own_and_the_part(begin: float, parts: Sequence[Part], own: Wait) -> Way:
    """An alarm that is waited for after the part: what comes last."""
    return the_last(begin, [*parts, lambda _: Way(own.end, (own,))], own)


class Template(NamedTuple):
    """A piece of asyncio: its text, with `{a}` and `{b}` for its parts and `{s}` for seconds of its own, and its rule.

    The line that ends in `# own` is the one that its own wait is of.
    """

    text: str
    rule: Rule
    parts: int
    kind: str = "timer"
    """Of its own wait."""


LEAVES = {
    "sleep": Template("await asyncio.sleep({s})  # own", its_own, 0),
    "future": Template(
        """\
loop = asyncio.get_running_loop()
future = loop.create_future()
loop.call_later({s}, resolve, future)  # own
await future""",
        its_own,
        0,
    ),
    "event": Template(
        """\
event = asyncio.Event()
asyncio.get_running_loop().call_later({s}, event.set)  # own
await event.wait()""",
        its_own,
        0,
    ),
    "wait": Template(
        """\
never = asyncio.create_task(asyncio.Event().wait())
await asyncio.wait([never], timeout={s})  # own
never.cancel()""",
        its_own,
        0,
    ),
    "stream": Template(
        """\
ours, theirs = socket.socketpair()
reader, writer = await asyncio.open_connection(sock=ours)
with theirs, contextlib.closing(writer):
    writer.write(b"?")
    asyncio.get_running_loop().outside({s}, lambda: answer(theirs))
    await reader.readline()  # own""",
        its_own,
        0,
        "network",
    ),
    "lines": Template(
        """\
ours, theirs = socket.socketpair()
reader, writer = await asyncio.open_connection(sock=ours)
with theirs, contextlib.closing(writer):
    writer.writelines([b"?", b"?"])
    asyncio.get_running_loop().outside({s}, lambda: answer(theirs))
    await reader.readline()  # own""",
        its_own,
        0,
        "network",
    ),
    "socket": Template(
        """\
loop = asyncio.get_running_loop()
ours, theirs = socket.socketpair()
ours.setblocking(False)
with theirs, ours:
    await loop.sock_sendall(ours, b"?")
    loop.outside({s}, lambda: answer(theirs))
    await loop.sock_recv(ours, 10)  # own""",
        its_own,
        0,
        "network",
    ),
    "executor": Template(
        """\
loop = asyncio.get_running_loop()
await loop.run_in_executor(Elsewhere(loop, {s}), str)  # own""",
        its_own,
        0,
        "thread",
    ),
}

NODES = {
    "sequence": Template("await {a}()\nawait {b}()", one_after_the_other, 2),
    "task": Template("await asyncio.create_task({a}())", one_after_the_other, 1),
    "shield": Template("await asyncio.shield({a}())", one_after_the_other, 1),
    "gather": Template("await asyncio.gather({a}(), {b}())", the_last, 2),
    "group": Template(
        """\
async with asyncio.TaskGroup() as group:
    group.create_task({a}())
    group.create_task({b}())""",
        the_last,
        2,
    ),
    "completed": Template("for each in asyncio.as_completed([{a}(), {b}()]):\n    await each", the_last, 2),
    "event": Template(
        """\
event = asyncio.Event()
async def setter():
    await {a}()
    event.set()
task = asyncio.create_task(setter())
await {b}()
await event.wait()""",
        the_last,
        2,
    ),
    "queue": Template(
        """\
queue = asyncio.Queue()
async def producer():
    await {a}()
    await queue.put(1)
task = asyncio.create_task(producer())
await {b}()
await queue.get()""",
        the_last,
        2,
    ),
    "barrier": Template(
        """\
barrier = asyncio.Barrier(2)
async def other():
    await {a}()
    await barrier.wait()
task = asyncio.create_task(other())
await {b}()
await barrier.wait()""",
        the_last,
        2,
    ),
    "full queue": Template(
        """\
queue = asyncio.Queue(1)
async def producer():
    await queue.put(1)
    await queue.put(2)
    await {b}()
task = asyncio.create_task(producer())
await {a}()
await queue.get()
await task""",
        one_after_the_other,
        2,
    ),
    "lock": Template(
        """\
lock = asyncio.Lock()
async def holder():
    async with lock:
        await {a}()
task = asyncio.create_task(holder())
await asyncio.sleep(0)
async with lock:
    await {b}()""",
        one_after_the_other,
        2,
    ),
    "semaphore": Template(
        """\
semaphore = asyncio.Semaphore(1)
async def user(part):
    async with semaphore:
        await part()
await asyncio.gather(user({a}), user({b}))""",
        one_after_the_other,
        2,
    ),
    "condition": Template(
        """\
condition = asyncio.Condition()
async def waiter():
    async with condition:
        await condition.wait()
    await {b}()
waiting = asyncio.create_task(waiter())
await {a}()
async with condition:
    condition.notify_all()
await waiting""",
        one_after_the_other,
        2,
    ),
    "callback": Template(
        """\
future = asyncio.get_running_loop().create_future()
task = asyncio.create_task({a}())
task.add_done_callback(lambda _: resolve(future))
await future
await {b}()""",
        one_after_the_other,
        2,
    ),
    "generator": Template(
        """\
async def generate():
    await {a}()
    yield 1
    await {b}()
    yield 2
async for _ in generate():
    pass""",
        one_after_the_other,
        2,
    ),
    "context": Template(
        """\
@contextlib.asynccontextmanager
async def context():
    await {a}()
    yield
    await {b}()
async with context():
    pass""",
        one_after_the_other,
        2,
    ),
    "race": Template(
        """\
racing = [asyncio.create_task({a}()), asyncio.create_task({b}())]
_, late = await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
for each in late:
    each.cancel()""",
        the_first,
        2,
    ),
    "failure": Template(
        """\
class Failed(Exception):
    pass
async def failing():
    await {a}()
    raise Failed
async def failed():
    with contextlib.suppress(BaseExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(asyncio.Event().wait())
await asyncio.create_task(failed())  # its own: CPython 3.11 goes on to count the task of a group that failed as cancelled
await {b}()""",
        one_after_the_other,
        2,
    ),
    "cancellation": Template(
        """\
task = asyncio.create_task({a}())
async def canceller():
    await {b}()
    task.cancel()
cancelling = asyncio.create_task(canceller())
await asyncio.wait([task])
await cancelling""",
        the_second,
        2,
    ),
    "wait_for": Template(
        """\
with contextlib.suppress(TimeoutError):
    await asyncio.wait_for({a}(), {s})  # own""",
        its_own_or_the_part,
        1,
    ),
    "timeout": Template(
        """\
with contextlib.suppress(TimeoutError):
    async with asyncio.timeout({s}):  # own
        await {a}()""",
        its_own_or_the_part,
        1,
    ),
    "alarm": Template(
        """\
loop = asyncio.get_running_loop()
future = loop.create_future()
loop.call_later({s}, resolve, future)  # own
await {a}()
await future""",
        its_own_and_the_part,
        1,
    ),
}
