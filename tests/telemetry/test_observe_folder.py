"""Another Python, in which firstword is not installed: its starts are observed by a folder on its path, and nothing is taken away."""

from __future__ import annotations

import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from firstword.telemetry.observe_folder import observing, write_observe_folder

FOUND = """
import sys, sitecustomize
from firstword.telemetry import switch
print(switch.__file__)
print(switch.registered(), getattr(sitecustomize, "OWNER", None))
import firstword.telemetry.livekit_hooks
try:
    import firstword.agent.settings
except ImportError:
    print("telemetry alone")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has what LiveKit brings, and no firstword: path files of folders on its path are not read."""
    folder = tmp_path_factory.mktemp("other")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "locked.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_observe_folder(tmp_path / "observe")
    return tmp_path / "observe"


def run(python: Path, code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment)


def theirs(folder: Path, code: str = "OWNER = 'theirs'; print('runs')") -> str:
    """A folder with a `sitecustomize` of somebody else's."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return str(folder)


def test_the_switch_is_on_and_telemetry_is_there_alone(python: Path, folder: Path, tmp_path: Path) -> None:
    """In the folder; without it neither is. Writing it once more changes nothing."""
    assert run(python, "import firstword.telemetry", {}).returncode == 1
    write_observe_folder(folder)
    done = run(python, FOUND, observing({}, folder))
    switch, registered, alone = done.stdout.splitlines()
    assert Path(switch).is_relative_to(folder)
    assert (registered, alone) == ("True None", "telemetry alone")
    assert done.stderr == ""


def test_the_sitecustomize_that_was_there_runs_too(python: Path, folder: Path, tmp_path: Path) -> None:
    """Further down the path; it is the one that is imported then."""
    environment = observing({"PYTHONPATH": theirs(tmp_path / "theirs")}, folder, "0.05")
    assert environment["FIRSTWORD_OBSERVE"] == "0.05"
    done = run(python, FOUND, environment)
    assert [line for line in done.stdout.splitlines() if "/" not in line] == [
        "runs",
        "True theirs",
        "telemetry alone",
    ]


def test_what_theirs_raises_is_said_as_python_says_it(python: Path, folder: Path, tmp_path: Path) -> None:
    """Python names it and goes on; so it does without us."""
    path = theirs(tmp_path / "theirs", "raise ValueError('theirs')")
    ours = run(python, "print('on')", observing({"PYTHONPATH": path}, folder))
    without = run(python, "print('on')", {"PYTHONPATH": path})
    assert (ours.stdout, ours.stderr) == (without.stdout, without.stderr)
    assert "ValueError: theirs" in ours.stderr


def test_a_switch_that_is_broken_is_one_line(python: Path, folder: Path, tmp_path: Path) -> None:
    """Theirs runs all the same, and the program."""
    (folder / "firstword" / "telemetry" / "switch.py").write_text("raise OSError('broken')")
    done = run(python, "print('on')", observing({"PYTHONPATH": theirs(tmp_path / "theirs")}, folder))
    assert done.stdout.splitlines() == ["runs", "on"]
    assert done.stderr == "firstword: starts are not observed: OSError('broken')\n"


def test_a_package_beside_it_is_imported_at_the_start(python: Path, tmp_path: Path) -> None:
    """As a portion of firstword, in each process, once the switch is on."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text(
        "from firstword.telemetry import switch\nprint(switch.registered())"
    )
    write_observe_folder(tmp_path / "observe", beside=[tmp_path / "beside"])
    done = run(python, "print('on')", observing({}, tmp_path / "observe", at_start="firstword.beside"))
    assert (done.stdout.splitlines(), done.stderr) == (["True", "on"], "")


def test_without_the_variable_it_only_runs_theirs(python: Path, folder: Path, tmp_path: Path) -> None:
    """Whoever takes the variable away has switched it off."""
    environment = observing({"PYTHONPATH": theirs(tmp_path / "theirs")}, folder)
    del environment["FIRSTWORD_OBSERVE"]
    done = run(python, "import sys; print('firstword' in sys.modules)", environment)
    assert (done.stdout.splitlines(), done.stderr) == (["runs", "False"], "")
