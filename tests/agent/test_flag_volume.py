"""Workers on several machines: a ConfigMap's volume that switches as the kubelet does it, and two workers on two copies of a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firstword.agent.flags.flag_file import read
from firstword.agent.flags.improvements import DRAWN
from tests.agent.flag_files import FILE, Place, drawn, flag, shared, text
from tests.agent.flag_files import said as said


class Volume:
    """A folder as the kubelet keeps it: `flags.json` leads to `..data/flags.json`, and `..data` to a folder of one version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.version = 0

    def update(self, content: str) -> None:
        """A new folder beside the old one, the link replaced by a rename, the old folder gone (AtomicWriter, in Kubernetes' sources)."""
        self.version += 1
        new, link = self.folder / f"..2026_11_30_{self.version}", self.folder / "..data"
        new.mkdir()
        (new / "flags.json").write_text(content)
        os.utime(new / "flags.json", (1e9, 1e9))  # of one age: only the file itself is another
        old = link.resolve() if link.is_symlink() else None
        (self.folder / "..data_tmp").symlink_to(new.name)
        (self.folder / "..data_tmp").replace(link)
        if old is None:
            (self.folder / "flags.json").symlink_to("..data/flags.json")
        else:
            shutil.rmtree(old)


def test_a_switched_volume_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    """By each look after a switch, also where the new file is as long and as old; without a warning."""
    volume = Volume(tmp_path / "volume")
    monkeypatch.setenv(FILE, str(volume.folder / "flags.json"))
    place = Place(tmp_path)
    volume.update(text(parallel_init=flag("on"), deferred_setup=flag("off")))
    keeper = place.keeper()
    keeper.look()
    source = place.source()
    assert drawn(source) == {"parallel-init": True, "deferred-setup": False}
    for turn in range(6):
        on = turn % 2 == 1
        volume.update(text(parallel_init=flag("on" if on else "off"), deferred_setup=flag("off" if on else "on")))
        keeper.look()
        assert drawn(source) == {"parallel-init": on, "deferred-setup": not on}
    assert said.records == []


WORKER = """
import json, sys
from firstword.agent.flags.flag_source import FlagSource
from firstword.agent.flags.improvements import NO_CHANGE
def source():
    return FlagSource(per_process=["component-pool"], per_session=["parallel-init", NO_CHANGE], deadline=0.5)
one = source()
sessions = [[each.on for each in one.draw_session(None, f"room-{n}")] for n in range(400)]
accounts = [[each.on for each in one.draw_session(f"account-{n % 20}", f"room-{n}")] for n in range(100)]
processes = [source().draw_process()[0].on for _ in range(200)]
threads = [one.draw_process()[0].on for _ in range(50)]
print(json.dumps({"sessions": sessions, "accounts": accounts, "processes": processes, "threads": threads}))
"""


def worker(folder: Path, content: str) -> dict[str, Any]:
    """What the processes of a worker with a file of its own draw."""
    folder.mkdir()
    (folder / "flags.json").write_text(content)
    environment = {**os.environ, FILE: str(folder / "flags.json"), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-c", WORKER]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120).stdout)


def test_two_workers_draw_sessions_alike_and_processes_each_by_itself(tmp_path: Path) -> None:
    """On two copies of one file. The bounds on random keys are five standard deviations wide."""
    content = text(parallel_init=shared(25), no_change=shared(50), component_pool=shared(25))
    first, second = worker(tmp_path / "a", content), worker(tmp_path / "b", content)
    assert first["sessions"] == second["sessions"]
    assert first["accounts"] == second["accounts"]
    assert first["accounts"][:20] == first["accounts"][20:40]  # an account is drawn alike in each of its rooms
    both = [sum(column) for column in zip(*first["sessions"], strict=True)]
    assert 60 < both[0] < 140
    assert 150 < both[1] < 250
    assert first["processes"] != second["processes"]
    on = sum(first["processes"]) + sum(second["processes"])
    assert 57 < on < 143
    assert len(set(first["threads"])) == len(set(second["threads"])) == 1  # a worker with threads is one draw
    assert read(tmp_path / "a" / "flags.json", DRAWN).bad == {}
