"""Which flags a process and its sessions run with: a profile's, or what the flag file says now."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from firstword.agent.flags.assignment import draw_process, draw_session
from firstword.agent.flags.improvements import NO_CHANGE, PER_PROCESS, Flags, Improvement, UnknownFlag, profile
from firstword.agent.settings import Settings
from firstword.telemetry.vocabulary import FLAG_PREFIX, FLAGS_BY, FLAGS_BY_PROCESS
from tests.agent.flag_files import shared
from tests.agent.providers import made

_deadline = count(1)


@pytest.fixture
def flag_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "flags.json"
    monkeypatch.setenv("FLAGD_OFFLINE_FLAG_SOURCE_PATH", str(file))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return file


def write(file: Path, on: set[Improvement]) -> None:
    flags = {
        flag.value: {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "on" if flag in on else "off",
        }
        for flag in Improvement
    }
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"flags": flags}))
    new.replace(file)


def unlike_any_other(folder: Path) -> Settings:
    """Settings that no flag source has been opened for."""
    return made(folder, flags_deadline=next(_deadline))


def test_a_profile_overrides_the_flag_source(flag_file: Path, tmp_path: Path) -> None:
    """Process and sessions have all its flags, and no source has drawn anything."""
    write(flag_file, set())
    settings = made(tmp_path, profile="parallel-init,smart-greeting")
    process = draw_process(settings)
    assert process.flags == profile("parallel-init,smart-greeting")
    assert draw_session(settings, process, "1001", "room") == process
    assert process.events == ()
    with pytest.raises(UnknownFlag):
        draw_process(made(tmp_path, profile="parallel-innit"))


def test_each_flag_is_drawn_where_it_acts(flag_file: Path, tmp_path: Path) -> None:
    """What acts before any session comes from the process, the rest from the session; each is one event."""
    write(flag_file, set(Improvement))
    settings = unlike_any_other(tmp_path)
    process = draw_process(settings)
    assert process.flags == Flags(PER_PROCESS)
    assert {event["feature_flag.key"] for event in process.events} == PER_PROCESS
    session = draw_session(settings, process, "1001", "room")
    assert session.flags == profile("tuned")
    assert sorted(event["feature_flag.key"] for event in session.events) == sorted(Improvement)
    assert {event["feature_flag.result.variant"] for event in session.events} == {"on"}


def test_by_what_the_flags_were_drawn_goes_into_the_trace(flag_file: Path, tmp_path: Path) -> None:
    """By account where the job's metadata names one, else by room; some by process whoever calls."""
    write(flag_file, set())
    settings = unlike_any_other(tmp_path)
    process = draw_process(settings)
    for account, by in (("1001", "account"), (None, "room")):
        said = draw_session(settings, process, account, "room").attributes
        assert said[FLAGS_BY] == by
        assert set(said[FLAGS_BY_PROCESS].split(",")) == PER_PROCESS


def test_a_changed_file_changes_the_sessions_of_a_process_and_not_the_process(flag_file: Path, tmp_path: Path) -> None:
    """A session records what its process was prepared with, whatever the file says by then."""
    write(flag_file, set())
    settings = unlike_any_other(tmp_path)
    process = draw_process(settings)
    assert draw_session(settings, process, None, "room").flags == profile("baseline")
    write(flag_file, set(Improvement))
    session = draw_session(settings, process, None, "room")
    assert session.flags == Flags(frozenset(Improvement) - PER_PROCESS)
    said = {event["feature_flag.key"]: event["feature_flag.result.variant"] for event in session.events}
    assert said == session.flags.variants()


def test_the_flag_that_changes_nothing_is_drawn_while_the_tuner_is_tried(flag_file: Path, tmp_path: Path) -> None:
    """Its variant goes into the trace and changes no flag; a file that does not name it leaves no mark."""
    settings = unlike_any_other(tmp_path)
    write(flag_file, set())
    process = draw_process(settings)
    plain = draw_session(settings, process, None, "room")
    assert FLAG_PREFIX + NO_CHANGE not in plain.attributes
    document = json.loads(flag_file.read_text())
    document["flags"][NO_CHANGE] = shared(50)
    flag_file.write_text(json.dumps(document))
    variants: set[str] = set()
    for number in range(40):
        session = draw_session(settings, process, None, f"room-{number}")
        assert session.flags == profile("baseline")
        variants.add(session.attributes[FLAG_PREFIX + NO_CHANGE])
        assert session.events[-1]["feature_flag.key"] == NO_CHANGE
    assert variants == {"on", "off"}
