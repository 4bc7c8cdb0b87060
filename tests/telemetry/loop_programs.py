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
    """A task that sleeps for 1 ms, waits for 1 ms, and waits for so long, on a line each."""
    slept, waited = begin + 1, begin + 2
    timer = own._replace(kind="timer", line=own.line - 2, end=slept)
    first = own._replace(line=own.line - 1, begin=slept, end=waited)
    return Way(own.end + 2, (timer, first, own._replace(begin=waited, end=own.end + 2)))


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
    while True:
        if not await queue.get():
            future.set_result(None)
pumping = asyncio.create_task(pump())
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
def told(future):
    in_thread(lambda: loop.call_soon_threadsafe(future.set_result, None))
async def work():
    first, last = loop.create_future(), loop.create_future()
    loop.outside(0.002, lambda: told(first))
    loop.outside(0.002 + {s}, lambda: told(last))
    await asyncio.sleep(0.001)
    await first
    await last  # own
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

    @property
    def piece(self) -> Template:
        """The piece of asyncio that it is."""
        return NODES[self.template] if self.parts else (LEAVES | BETWEEN)[self.template]

    @property
    def waits(self) -> bool:
        """Whether it has a wait of its own."""
        return "{s}" in self.piece.text

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

    shuffled: which power of two is whose wait's: a permutation of their places.
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
        template = tree.piece
        length = next(self._lengths) if tree.waits else 0
        name = f"part{len(self._lines)}"
        text = template.text.format(**dict(zip("ab", (name for name, _ in parts), strict=False)), s=length / 1000)
        self._lines.append(f"async def {name}():")
        body = indent(text, "    ").splitlines()
        own = next((at for at, line in enumerate(body) if line.endswith("# own")), 0)
        line = len(self._lines) + own + 1
        self._lines += body
        rule, ways = template.rule, [part for _, part in parts]
        return name, lambda begin: rule(begin, ways, Wait(template.kind, line, begin, begin + length))


MOST_WAITS = 20
"""Of a program: of more, the sum would be so long that the loop's time, a float, loses nanoseconds."""


def count_waits(trees: Sequence[Tree]) -> int:
    """How many waits they have."""
    return sum(node.waits for tree in trees for node in tree.nodes())


@st.composite
def programs(draw: st.DrawFn, most: int = 8) -> Program:
    """Programs of up to four trees, each with at most so many leaves."""
    between = st.sampled_from(sorted(BETWEEN)).map(Tree)
    lists = st.lists(between | trees(most), min_size=1, max_size=4)
    drawn = draw(lists.filter(lambda found: count_waits(found) <= MOST_WAITS))
    return Program(drawn, draw(st.permutations(range(count_waits(drawn)))))
