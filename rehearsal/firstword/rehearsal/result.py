"""Computes what a rehearsal found: figures of each profile, from the callers' ears and from the traces their sessions
left.

Last in the rehearsal's data path: sessions and OTLP JSON lines in, a `Result` out, on disk as `result.json`.

Quantiles are order statistics (nearest rank): p90 of twenty sessions is the eighteenth fastest. So each figure is a
session that took place, and an error, which is infinitely late, needs no interpolation. In JSON infinity is null.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs

from firstword.telemetry.record import Dispatch
from firstword.tuning.files import Files
from firstword.tuning.sources import Query, SourceError
from firstword.tuning.start import RecordedStart, start_of

RESULT_FILE = "result.json"
LOGS = "logs"
TRACES = "traces"
"""Folder, in that of a rehearsal, that has a folder of OTLP JSON lines for each profile."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Milliseconds of a greeting that were not heard, to 20 ms; silence within it counts nowhere."""

    beginning_ms: int
    middle_ms: int
    end_ms: int

    @property
    def total_ms(self) -> int:
        """Returns all milliseconds of the greeting that were not heard."""
        return self.beginning_ms + self.middle_ms + self.end_ms


@dataclass(frozen=True, slots=True)
class Missed:
    """How much the callers of a profile missed of their greetings, in milliseconds, and how many of them."""

    callers: int
    """Number of callers who missed something."""
    beginning_ms: int
    """The most that one caller missed at the beginning; likewise in the middle and at the end."""
    middle_ms: int
    end_ms: int

    @classmethod
    def of(cls, found: Sequence[Missing]) -> Missed | None:
        """Sums up what was missing in the sessions that were compared; None where none was."""
        if not found:
            return None
        worst = (max(values) for values in zip(*((m.beginning_ms, m.middle_ms, m.end_ms) for m in found), strict=True))
        return cls(sum(missing.total_ms > 0 for missing in found), *worst)


@dataclass(frozen=True, slots=True)
class Session:
    """One rehearsed session: its room, and after how long its caller heard something, or why not."""

    profile: str
    room: str
    room_sid: str | None
    """LiveKit's id of the room, by which its trace is found; None when the caller never got in."""
    heard_s: float | None
    """Seconds from calling connect to the first audible frame; None when nothing was heard."""
    error: str | None = None
    """Why nothing was heard."""
    missing: Missing | None = None
    """What was missing of the greeting; None where that was not compared."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles of a time, in seconds; infinite where that many sessions were errors."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles | None:
        """Returns the quantiles of `values`, by nearest rank; None for no value."""
        if not values:
            return None
        ordered = sorted(values)
        p50, p90, p99 = (ordered[math.ceil(q * len(ordered)) - 1] for q in (0.5, 0.9, 0.99))
        return cls(p50, p90, p99, ordered[-1])


@dataclass(frozen=True, slots=True)
class ProfileFigures:
    """The figures of one profile's sessions; `ttfw_s` and `init_s` are None where there are no traces, as for the floor."""

    sessions: int
    errors: int
    """Sessions whose caller heard nothing, or whose start failed or timed out."""
    fallbacks: int
    """Number of tasks that used their fallback, over all sessions."""
    ttfw_s: Quantiles | None
    init_s: Quantiles | None
    heard_s: Quantiles | None
    missed: Missed | None = None
    """What callers missed of the greetings; None where none was compared."""
    untraced: int = 0
    """Sessions that should have left a trace and left none; not in `ttfw_s` and `init_s`. Not part of the JSON."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a whole rehearsal: its figures by profile, its sessions, and what it ran with."""

    profiles: Mapping[str, ProfileFigures]
    dispatch: Dispatch
    providers: Mapping[str, str]
    versions: Mapping[str, str]
    sessions: Sequence[Session] = field(default_factory=tuple[Session, ...])
    interrupted: bool = False

    @property
    def unheard(self) -> int:
        """Returns how many callers, of all profiles, heard nothing."""
        return sum(session.heard_s is None for session in self.sessions)

    def as_json(self) -> dict[str, Any]:
        """Returns the data of `rehearse --json` under its stable keys (docs/rehearse.md).

        null is infinitely late or, for the floor, not measured.
        """
        return {
            "profiles": {name: _figures_json(figures) for name, figures in self.profiles.items()},
            "dispatch": self.dispatch.value,
            "providers": dict(self.providers),
            "versions": dict(self.versions),
        }


def figures(sessions: Sequence[Session], starts: Mapping[str, RecordedStart] | None) -> ProfileFigures:
    """Computes the figures of one profile's sessions.

    starts: the sessions' starts by LiveKit's room id; None for a profile that leaves no traces.
    """
    heard = [math.inf if session.heard_s is None else session.heard_s for session in sessions]
    missed = Missed.of([session.missing for session in sessions if session.missing is not None])
    if starts is None:
        errors = sum(math.isinf(seconds) for seconds in heard)
        return ProfileFigures(len(sessions), errors, 0, None, None, Quantiles.of(heard), missed)
    errors = fallbacks = untraced = 0
    ttfw: list[float] = []
    init: list[float] = []
    for session in sessions:
        start = starts.get(session.room_sid or "")
        fallbacks += start.fallbacks if start else 0
        if session.heard_s is None or (start and start.failed):
            errors += 1
            ttfw.append(math.inf)
            init.append(math.inf)
        elif start is None:
            untraced += 1
        else:
            # A caller who heard the agent stayed on: a start that never got ready by then counts as never.
            ttfw.append(math.inf if start.ttfw_s is None else start.ttfw_s)
            init.append(math.inf if start.init_s is None else start.init_s)
    return ProfileFigures(
        len(sessions), errors, fallbacks, Quantiles.of(ttfw), Quantiles.of(init), Quantiles.of(heard), missed, untraced
    )


def read_starts(folder: Path) -> dict[str, RecordedStart]:
    """Returns the start-ups in the files below `folder`, by LiveKit's room id.

    What can't be read is passed over: a process that was killed may leave its last line cut.
    """
    traces = Files(folder).traces(Query(), lambda _: None)
    try:
        starts = [start_of(trace) for trace in traces if trace.is_start and not trace.is_second]
    except SourceError:  # no process has exported anything
        return {}
    return {start.room_sid: start for start in starts if start.room_sid is not None}


def save(result: Result, folder: Path) -> None:
    """Writes `result.json` and `sessions.jsonl` into `folder`, and remembers it as the last rehearsal of this user."""
    (folder / RESULT_FILE).write_text(json.dumps(result.as_json(), indent=2) + "\n")
    lines = (json.dumps(asdict(session)) + "\n" for session in result.sessions)
    (folder / "sessions.jsonl").write_text("".join(lines))
    with contextlib.suppress(OSError):  # a home that can't be written to costs `--last` and nothing else
        _last_file().parent.mkdir(parents=True, exist_ok=True)
        _last_file().write_text(f"{folder.resolve()}\n")


def last_folder() -> Path | None:
    """Returns the folder of this user's last rehearsal, for `--last`; None when there was none, or it is gone."""
    with contextlib.suppress(OSError):
        folder = Path(_last_file().read_text().strip())
        return folder if (folder / RESULT_FILE).exists() else None
    return None


def new_folder(parent: Path) -> Path:
    """Makes a new folder below `parent`, named after the local date and time, and returns its path.

    Another one of the same second gets a suffix. Raises FileExistsError where 99 of that second are there.
    """
    name = datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        with contextlib.suppress(FileExistsError):
            (parent / f"{name}{suffix}").mkdir(parents=True)
            return parent / f"{name}{suffix}"
    raise FileExistsError(f"{parent / name}-99")


def _last_file() -> Path:
    return platformdirs.user_state_path("firstword") / "last-rehearsal"


def _figures_json(figures: ProfileFigures) -> dict[str, Any]:
    values = asdict(figures)
    del values["untraced"]
    for key in ("ttfw_s", "init_s", "heard_s"):
        if values[key] is not None:
            values[key] = {name: seconds if math.isfinite(seconds) else None for name, seconds in values[key].items()}
    return values
