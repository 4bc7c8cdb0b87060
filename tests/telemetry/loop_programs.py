"""Random asyncio programs whose causes are known by construction: source text, and the chain of waits that its end depends on.

A program is some trees, one after the other. A tree's leaves wait for so long; each other node is a piece of asyncio that lets one of its
parts decide when it ends: the last, the first, one after the other. No two sums of waits are equal (they are different powers of two), so
who decides is certain. Between the trees stands what only a lone task can be told of: computing, a loop that is held, events from elsewhere.
The chain follows from the program alone; nothing here looks at an event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import indent

from hypothesis import strategies as st

from tests.telemetry.loop_program_parts import LEAVES, NODES, Part, Template, Wait, Way, its_own, one_after_the_other

HEADER = """\
import asyncio
import contextlib
import socket
from tests.telemetry.outside_world import Elsewhere, in_thread

def resolve(future):
    if not future.done():
        future.set_result(None)

def answer(connection):
    with contextlib.suppress(OSError):
        connection.send(b"!\\n")
"""


def then_held(begin: float, parts: Sequence[Part], own: Wait) -> Way:
    """A leaf that sleeps for 1 ms, and then waits for so long for a loop that is held."""
    due = begin + 1
    return Way(own.end + 1, (own._replace(end=due), own._replace(kind="event loop", begin=due, end=own.end + 1)))


def then_awaited(begin: float, parts: Sequence[Part], own: Wait) -> Way:
    """A task that sleeps for 1 ms on the line before, and then waits for so long."""
    slept = own._replace(kind="timer", line=own.line - 1, end=begin + 1)
    return Way(own.end + 1, (slept, own._replace(begin=begin + 1, end=own.end + 1)))


BETWEEN = {
    "native": Template(
        """\
loop = asyncio.get_running_loop()
future = loop.create_future()
loop.outside({s}, lambda: in_thread(lambda: loop.call_soon_threadsafe(future.set_result, None)))
await future  # own""",
        its_own,
        0,
        "outside",
    ),
    "pump": Template(
        """\
loop = asyncio.get_running_loop()
future = loop.create_future()
queue = asyncio.Queue()
async def pump():
    while await queue.get():
        pass
    future.set_result(None)
pumping = asyncio.create_task(pump())
await asyncio.sleep(0)
put = lambda value: in_thread(lambda: loop.call_soon_threadsafe(queue.put_nowait, value))
loop.outside(0.5 * {s}, lambda: put(1))
loop.outside({s}, lambda: put(0))
await future  # own""",
        its_own,
        0,
        "outside",
    ),
    "native of a task": Template(
        """\
loop = asyncio.get_running_loop()
async def work():
    future = loop.create_future()
    loop.outside(0.001 + {s}, lambda: in_thread(lambda: loop.call_soon_threadsafe(future.set_result, None)))
    await asyncio.sleep(0.001)
    await future  # own
await asyncio.create_task(work())""",
        then_awaited,
        0,
        "outside",
    ),
    "tokens": Template(
        """\
loop = asyncio.get_running_loop()
ours, theirs = socket.socketpair()
reader, writer = await asyncio.open_connection(sock=ours)
with theirs, contextlib.closing(writer):
    writer.write(b"?")
    for part in (0.25, 0.5, 1):
        loop.outside(part * {s}, lambda: answer(theirs))
    for _ in range(3): await reader.readline()  # own""",
        its_own,
        0,
        "network",
    ),
    "computing": Template("asyncio.get_running_loop().jump({s})  # own", its_own, 0, "computing"),
    "held": Template(
        """\
loop = asyncio.get_running_loop()
loop.call_later(0.0005, loop.jump, 0.0005 + {s})
await asyncio.sleep(0.001)  # own""",
        then_held,
        0,
    ),
}


@dataclass(frozen=True)
class Tree:
    """A node of a program, and what it is made of."""

    template: str
    parts: tuple[Tree, ...] = ()

    def nodes(self) -> Iterator[Tree]:
        """It and all below it."""
        yield self
        for part in self.parts:
            yield from part.nodes()


def trees(most: int) -> st.SearchStrategy[Tree]:
    """Programs with at most so many leaves."""
    leaves = st.sampled_from(sorted(LEAVES)).map(Tree)

    def nodes(parts: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        return st.sampled_from(sorted(NODES)).flatmap(
            lambda name: st.tuples(*[parts] * NODES[name].parts).map(lambda made: Tree(name, made))
        )

    return st.recursive(leaves, nodes, max_leaves=most)


class Program:
    """The source of some trees, one after the other, whose function `root` it is, and how it goes.

    shuffled: which power of two is whose: a permutation of the nodes' places.
    """

    def __init__(self, trees: Sequence[Tree], shuffled: Sequence[int]) -> None:
        self._lines: list[str] = [*HEADER.splitlines()]
        self._lengths = iter([2**place for place in shuffled])
        written = [self._write(tree) for tree in trees]
        self._lines += ["async def root():", *(f"    await {name}()" for name, _ in written)]
        self.source = "\n".join(self._lines) + "\n"
        nothing = Wait("", 0, 0, 0)
        self.chain = one_after_the_other(0, [part for _, part in written], nothing).chain

    def _write(self, tree: Tree) -> tuple[str, Part]:
        parts = [self._write(part) for part in tree.parts]
        template = NODES[tree.template] if tree.parts else (LEAVES | BETWEEN)[tree.template]
        length = next(self._lengths)
        name = f"part{len(self._lines)}"
        text = template.text.format(**dict(zip("ab", (name for name, _ in parts), strict=False)), s=length / 1000)
        self._lines.append(f"async def {name}():")
        body = indent(text, "    ").splitlines()
        own = next((at for at, line in enumerate(body) if line.endswith("# own")), 0)
        line = len(self._lines) + own + 1
        self._lines += body
        rule, ways = template.rule, [part for _, part in parts]
        return name, lambda begin: rule(begin, ways, Wait(template.kind, line, begin, begin + length))


@st.composite
def programs(draw: st.DrawFn, most: int = 10) -> Program:
    """Programs of up to four trees, each with at most so many leaves."""
    between = st.sampled_from(sorted(BETWEEN)).map(Tree)
    drawn = draw(st.lists(between | trees(most), min_size=1, max_size=4))
    nodes = [node for tree in drawn for node in tree.nodes()]
    return Program(drawn, draw(st.permutations(range(len(nodes)))))
