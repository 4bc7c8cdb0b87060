"""Opportunities in the agent's own lines: what it reads, loads, imports and computes while the caller waits.

A family of the rules of `firstword.tuning.audit.opportunities`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from firstword.telemetry.vocabulary import ABSENT_CALLER, COMPUTING, LOOP_IS_HELD
from firstword.tuning.audit.greeting_rules import CONNECT, SPEAKING, WAIT, is_connecting, starts_session
from firstword.tuning.audit.played import LineStretch
from firstword.tuning.audit.rule import AuditedStart, OpportunityRule, RuleFinding, found, seen, without
from firstword.tuning.audit.statements import Statement, first_use
from firstword.tuning.start import Piece

_LIVEKIT = (
    *CONNECT,
    *WAIT,
    *SPEAKING,
    "publish_track",
    "wait_for_subscription",
    "wait_for_playout",
)
_LOADING = ("VAD.load", "MultilingualModel", "EnglishModel", "from_pretrained", "InferenceSession", "load_model")
_LOADING_INSIDE = re.compile(r"VAD\.load|InferenceSession|load_model|from_pretrained")
_IMPORTING_INSIDE = re.compile(
    r"<module>|_find_and_load|_load_unlocked|_call_with_frames_removed|\w*Loader\.exec_module"
)
_BLOCKING = (
    *("time.sleep", "urlopen", "subprocess.run", "subprocess.check_output", "subprocess.check_call", "os.system"),
    *(f"{module}.{verb}" for module in ("requests", "httpx") for verb in ("get", "post", "put", "request")),
    *("psycopg.connect", "psycopg2.connect", "pymysql.connect", "sqlite3.connect", "socket.create_connection"),
)
_BLOCKING_INSIDE = re.compile(
    r"create_connection|HTTP(S?)ConnectionPool\.|HTTP(S?)Connection\.|HTTPResponse\.|HTTPAdapter\.|SocketIO\.|SSLSocket\."
    r"|Popen\.|SyncConnection|HTTPTransport\.|OpenerDirector\."
)


def read_in_line(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds waits in the agent's own lines that could have run beside the lines around them.

    Yields one finding a wait: the saving of beginning it as soon as what it needs is there. Waits that need the caller
    are left to `no_account_in_metadata`.
    """
    for moved in _own(start):
        if all(piece.kind in LOOP_IS_HELD for piece in start.chain.stretches[moved].pieces):
            continue
        origin = _origin(start, moved)
        if origin is None or not origin.calls_any(*WAIT):
            yield from _moved(start, moved, _needed(start, moved))


def no_account_in_metadata(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds reads that had to wait for the caller to learn who they are.

    Yields nothing where the job has metadata, or the agent's file reads an attribute `metadata`.
    """
    if start.agent.metadata or start.chain.source.mentions("metadata"):
        return
    for moved in _own(start):
        origin = _origin(start, moved)
        if origin is not None and origin.calls_any(*WAIT):
            yield from _moved(start, moved, None)


def model_loaded(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds the loading of models on the path, and yields one finding for each line of source."""
    yield from _by_line(start, start.chain.pieces(lambda piece: _is_loading(start, piece)))


def imports(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds imports on the path, and yields one finding for each module."""
    by_module: dict[str, list[Piece]] = {}
    for piece in start.chain.pieces(lambda piece: _is_importing(start, piece)):
        by_module.setdefault(_module(start, piece), []).append(piece)
    for module, pieces in by_module.items():
        yield from without(start, pieces, module)


def blocking_call(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds blocking calls (HTTP, databases, sleeps, processes) that hold the event loop until they have an answer.

    Yields one finding a line: the saving of making the call in a thread, as soon as what it needs is there.
    """
    for moved in _own(start):
        pieces = [piece for piece in start.chain.stretches[moved].pieces if _is_blocking(start, piece)]
        if pieces:
            for each in _moved(start, moved, _needed(start, moved), in_a_thread=True):
                yield found(pieces, each.saving_s, each.subject)


def computing(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds what the agent's own lines compute on the path, and yields one finding for each line of source.

    What another rule of this module names is left out. Yields another finding for each function of the agent's that
    held the event loop.
    """
    yield from _by_line(start, start.chain.pieces(lambda piece: _is_computing(start, piece)))
    for held_by in sorted({piece.held_by for piece in start.chain.all_pieces if piece.held_by}):
        if start.chain.source.has_function(held_by):
            yield from without(start, start.chain.pieces(lambda piece, name=held_by: piece.held_by == name), held_by)


def default_connect(start: AuditedStart) -> Iterator[RuleFinding]:
    """Finds a room that was joined with LiveKit's default options. No start tells what lighter ones would save."""
    pieces: list[Piece] = []
    for stretch in start.chain.stretches:
        said = stretch.statement
        if said is not None and said.calls_any(*CONNECT) and not said.keywords & _LIGHT:
            pieces += stretch.pieces
    yield from seen(pieces)


_LIGHT = {"auto_subscribe", "single_peer_connection", "rtc_config"}


def _own(start: AuditedStart) -> Iterator[int]:
    """Indices of the stretches of statements of the agent's that call nothing of LiveKit's."""
    for i, stretch in enumerate(start.chain.stretches[:-1]):
        said = stretch.statement
        own = said is not None and not _is_livekits(said) and not said.imports
        if own and not any(_is_anothers(start, piece) for piece in stretch.pieces):
            yield i


def _is_anothers(start: AuditedStart, piece: Piece) -> bool:
    """Whether a piece is no read of the agent's own: the caller's coming, a model's loading, a provider's connection."""
    return piece.name == ABSENT_CALLER or _is_loading(start, piece) or is_connecting(piece)


def _moved(start: AuditedStart, moved: int, needed: int | None, *, in_a_thread: bool = False) -> Iterator[RuleFinding]:
    stretch = start.chain.stretches[moved]
    after_s = start.chain.beside(moved, needed, _until(start, moved), in_a_thread=in_a_thread)
    yield found(stretch.pieces, start.chain.played_s() - after_s, _subject(stretch))


def _origin(start: AuditedStart, moved: int) -> Statement | None:
    said = start.chain.stretches[moved].statement
    assert said is not None  # noqa: S101 # only of own stretches
    return start.chain.source.origin(said, making_room=CONNECT)


def _needed(start: AuditedStart, moved: int) -> int | None:
    """The last stretch before it that was over when what it needs was there; None where it needs nothing."""
    said, origin = start.chain.stretches[moved].statement, _origin(start, moved)
    if said is None or origin is None:
        return None
    for i in reversed(range(moved)):
        earlier = start.chain.stretches[i].statement
        if earlier is not None and earlier.function == said.function and earlier.line <= origin.line:
            return i
    return None


def _until(start: AuditedStart, moved: int) -> int:
    """The first stretch behind it that needs its result, or may: one of another function, or behind its first use."""
    said = start.chain.stretches[moved].statement
    assert said is not None  # noqa: S101 # only of own stretches
    use = first_use(said, start.chain.source.following(said))
    for i in range(moved + 1, len(start.chain.stretches)):
        later = start.chain.stretches[i].statement
        if later is None or later.function != said.function or (use is not None and later.line >= use.line):
            return i
    return len(start.chain.stretches) - 1


def _is_livekits(statement: Statement) -> bool:
    return statement.calls_any(*_LIVEKIT) or starts_session(statement)


def _is_loading(start: AuditedStart, piece: Piece) -> bool:
    if piece.kind != COMPUTING:
        return False
    own = "" if piece.source is None else piece.source.function
    return any(_LOADING_INSIDE.search(at) for at in (piece.inside or "", own)) or start.chain.calls(piece, *_LOADING)


def _is_importing(start: AuditedStart, piece: Piece) -> bool:
    if piece.kind != COMPUTING:
        return False
    said = start.chain.source.statement(piece.source)
    by_the_line = said is not None and bool(said.imports)
    of_a_module = piece.source is not None and piece.source.function == "<module>"
    return by_the_line or of_a_module or bool(_IMPORTING_INSIDE.search(piece.inside or ""))


def _module(start: AuditedStart, piece: Piece) -> str:
    """What a piece imported: what its line names, or the module of the agent's own whose line it is."""
    said = start.chain.source.statement(piece.source)
    if said is not None and said.imports:
        return ", ".join(said.imports)
    return "a module" if piece.source is None else piece.source.file.removesuffix(".py").replace("/", ".")


def _is_blocking(start: AuditedStart, piece: Piece) -> bool:
    if piece.kind != COMPUTING:
        return False
    return bool(_BLOCKING_INSIDE.search(piece.inside or "")) or start.chain.calls(piece, *_BLOCKING)


def _is_computing(start: AuditedStart, piece: Piece) -> bool:
    if piece.kind != COMPUTING or piece.source is None:
        return False
    if any(other(start, piece) for other in (_is_loading, _is_importing, _is_blocking)):
        return False
    said: Statement | None = start.chain.source.statement(piece.source)
    return said is not None and not _is_livekits(said)


def _by_line(start: AuditedStart, pieces: tuple[Piece, ...]) -> Iterator[RuleFinding]:
    lines: dict[str, list[Piece]] = {}
    for piece in pieces:
        lines.setdefault(f"{piece.source.file}:{piece.source.line}" if piece.source else "", []).append(piece)
    for line, of in lines.items():
        yield from without(start, of, line)


def _subject(stretch: LineStretch) -> str:
    said = stretch.statement
    return "" if said is None else f"{said.file}:{said.line}"


_SETUP = "https://docs.livekit.io/agents/server/options/"

RULES = (
    OpportunityRule(
        name="read-waits-in-line",
        title="Start {subject} earlier, and wait for it where it is used",
        why="It waits in line, though what comes before it does not lead to it, or what comes after does not need it.",
        how="Begin it as a task as soon as what it needs is there, and await the task at its first use.",
        code="account = asyncio.create_task(read_account())\nawait ctx.connect()\nagent = MyAgent(await account)",
        link="https://docs.python.org/3/library/asyncio-task.html#creating-tasks",
        find=read_in_line,
    ),
    OpportunityRule(
        name="no-account-in-metadata",
        title="Say in the job's metadata whose call it is",
        why="It is read only once the caller is in the room, since nothing says before who they are.",
        how="Give the job the caller's account when it is dispatched, and read it while the room connects.",
        code='account_id = json.loads(ctx.job.metadata)["account"]\naccount = asyncio.create_task(read_account(account_id))',
        link="https://docs.livekit.io/agents/server/agent-dispatch/",
        find=no_account_in_metadata,
    ),
    OpportunityRule(
        name="model-loaded-in-entrypoint",
        title="Load the model of {subject} before the job",
        why="It is loaded once for each call, while the caller waits and the event loop stands still.",
        how="Load it in `setup_fnc`, which runs in a process that is still idle, and take it from `ctx.proc.userdata`.",
        code=(
            "def setup(process: JobProcess):\n"
            '    process.userdata["vad"] = silero.VAD.load()\n\n'
            "server.setup_fnc = setup\n"
            '# in the entrypoint: vad=ctx.proc.userdata["vad"]'
        ),
        link=_SETUP,
        find=model_loaded,
    ),
    OpportunityRule(
        name="imports-on-path",
        title="Import {subject} at the top of the file",
        why="It is imported while the caller waits.",
        how="Import it at the top of the agent's file: an idle process has it then before its job.",
        code="import my_module  # at the top, not in the entrypoint",
        link=_SETUP,
        find=imports,
    ),
    OpportunityRule(
        name="blocking-call",
        title="Do not block the event loop in {subject}",
        why="It holds the event loop until it has its answer, and so everything else that the start waits for.",
        how="Call it in a thread, or use a library with `await`, and begin it as soon as what it needs is there.",
        code="answer = asyncio.create_task(asyncio.to_thread(read_account))\n# ... and where it is used: await answer",
        link="https://docs.python.org/3/library/asyncio-task.html#running-in-threads",
        find=blocking_call,
    ),
    OpportunityRule(
        name="computing-on-path",
        title="Compute {subject} before the job, or after the first word",
        why="It computes while the caller waits, and nothing else can run meanwhile.",
        how="What is the same for each call, as providers and prompts, belongs into `setup_fnc`; what the first word does not need, after it.",
        code='def setup(process: JobProcess):\n    process.userdata["prompt"] = build_prompt()\n\nserver.setup_fnc = setup',
        link=_SETUP,
        find=computing,
    ),
    OpportunityRule(
        name="default-connect-options",
        title="Join the room with less",
        why="The room is joined with two connections, and with all tracks of all participants.",
        how="Use one connection, and subscribe to the caller's microphone alone.",
        code="await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY, single_peer_connection=True)",
        link="https://docs.livekit.io/agents/server/job/",
        find=default_connect,
        unpredicted="it depends on the network between the agent, LiveKit's server and the caller, and on what callers publish",
    ),
)
