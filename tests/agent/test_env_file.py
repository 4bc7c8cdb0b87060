"""`.env.local`: what it sets, for whom, and what is said of a line that sets something else than it seems to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer

from firstword.agent import env_file
from firstword.agent.env_file import EnvFileError, parse
from firstword.agent.settings import SettingsError, read_settings
from firstword.command.environment import load_environment
from firstword.telemetry.export import exporters_from_environment

CASES = Path(__file__).parent / "env_cases"
SECRET = "0123456789abcdef0123456789abcdef"
KEYS = {
    "LIVEKIT_URL": "ws://127.0.0.1:7880",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": SECRET,
    "OPENAI_API_KEY": "sk-made-up",
    "DEEPGRAM_API_KEY": "made-up",
}


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def written(content: str | bytes) -> None:
    Path(".env.local").write_bytes(content.encode() if isinstance(content, str) else content)


def faults(content: str | bytes) -> dict[str, str]:
    """What is said of each variable."""
    file = parse(content.encode() if isinstance(content, str) else content)
    return {fault.variable: str(fault) for fault in file.faults}


# --- what it sets


def test_the_environment_goes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file fills in what is not set; an empty variable is set; what is none of ours stays out."""
    written("LIVEKIT_URL=wss://file\nFIRSTWORD_SLOW=2\nPATH=/nowhere\nSOMETHING=else\nFIRSTWORD_EXECUTOR=thread\n")
    for name, value in {**KEYS, "FIRSTWORD_SLOW": "3", "FIRSTWORD_EXECUTOR": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LIVEKIT_URL")
    read = read_settings()
    assert (read.livekit_url, read.slow, read.executor) == ("wss://file", 3, "process")
    assert "SOMETHING" not in os.environ
    assert os.environ["PATH"] != "/nowhere"


def test_an_empty_agent_name_counts() -> None:
    """There alone an empty variable means something."""
    written("".join(f"{name}={value}\n" for name, value in KEYS.items()) + "FIRSTWORD_AGENT_NAME=\n")
    assert read_settings().agent_name == ""


def test_it_means_the_same_to_worker_rehearsal_and_exporters() -> None:
    """Settings, the shell of a rehearsal, and OpenTelemetry's and flagd's own variables, which others read."""
    written((CASES / "otel.env").read_bytes())
    assert read_settings().livekit_api_secret.get_secret_value() == SECRET
    assert {name: load_environment()[name] for name in KEYS} == KEYS
    assert os.environ["FLAGD_OFFLINE_FLAG_SOURCE_PATH"] == "folder/fractional-one-bucket.json"
    (exporter,) = exporters_from_environment()
    assert "grpc" in type(exporter).__module__
    exporter.shutdown()


def test_names_count_in_any_case_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file and in the environment; a name in capitals goes first."""
    written((CASES / "lower-case.env").read_bytes())
    monkeypatch.setenv("firstword_slow", "3")
    assert {name: load_environment()[name] for name in KEYS} == KEYS
    read = read_settings()
    assert (read.livekit_url, read.openai_api_key.get_secret_value(), read.slow) == (
        KEYS["LIVEKIT_URL"],
        "sk-made-up",
        3,
    )


def test_a_file_of_windows_is_read() -> None:
    """Byte order mark, line ends, blanks, `export` and comments."""
    written("\ufeffexport LIVEKIT_URL = ws://host:1  # ours\r\n\r\n# more\r\nOPENAI_API_KEY='a # b'\r\n")
    assert env_file.load().values == {"LIVEKIT_URL": "ws://host:1", "OPENAI_API_KEY": "a # b"}
    assert env_file.read().faults == ()


def test_what_no_environment_can_hold_is_left_out() -> None:
    """A NUL in a value, a sign of equality in a name."""
    written("OPENAI_API_KEY=a\0b\n'OTEL_A=B'=c\nLIVEKIT_URL\nFIRSTWORD_SLOW=2\n")
    assert env_file.load().values == {"FIRSTWORD_SLOW": "2"}
    assert "OPENAI_API_KEY" in faults(Path(".env.local").read_bytes())


# --- what is said of it

SAID: Mapping[str, tuple[str, dict[str, str]]] = {
    "left open": (
        "FIRSTWORD_SLOW=2\nLIVEKIT_API_SECRET='hush\nOPENAI_API_KEY=x\n",
        {"LIVEKIT_API_SECRET": "line 2: expected quotes around the whole value, or none; possible cause: a ' that is left open"},
    ),
    "left open up to the next": (
        "LIVEKIT_API_SECRET='hush\nOPENAI_API_KEY=x\nDEEPGRAM_API_KEY='hush'\n",
        dict.fromkeys(
            ("LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY"), "possible cause: a ' that is left open"
        ),
    ),
    "left open and closed by another": (
        'OTEL_SERVICE_NAME="hush\nFLAGD_HOST=x\nFIRSTWORD_SLOW=2"\n',
        dict.fromkeys(("OTEL_SERVICE_NAME", "FLAGD_HOST", "FIRSTWORD_SLOW"), "expected a closing quote on the same line"),
    ),
    "more after the quotes": (
        "OPENAI_API_KEY='a'b\n",
        {"OPENAI_API_KEY": "line 1: expected quotes around the whole value, or none"},
    ),
    "a reference": (
        "LIVEKIT_API_SECRET=hush${HOME}hush$1\n",
        {"LIVEKIT_API_SECRET": "line 1: ${HOME} was replaced, as in a shell"},
    ),
    "a # that is no comment": ("OPENAI_API_KEY=hush#ours\n", {"OPENAI_API_KEY": "its # belongs to the value"}),
    "a # in quotes": ("OPENAI_API_KEY='hush#ours'\n", {}),
    "a comment": ("OPENAI_API_KEY=hush #ours\n", {}),
    "a dollar": ("OPENAI_API_KEY=hush$1$\n", {}),
    "twice": ("OPENAI_API_KEY=a\nopenai_api_key=b\n", {"OPENAI_API_KEY": "stands twice in .env.local, and the last one counts"}),
    "twice, and the last one is lost": (
        "OPENAI_API_KEY=a\nOPENAI_API_KEY=a\0b\n",
        {"OPENAI_API_KEY": "line 2: expected text; possible cause: the file is in another encoding"},
    ),
    "not ours": ("SENTRY=a#b\nCOLOUR='#\n", {}),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), SAID.values(), ids=SAID.keys())
def test_a_line_that_sets_something_else_is_named_by_its_variable(content: str, said: dict[str, str]) -> None:
    """With its place, and without the value."""
    found = faults(content)
    assert found.keys() == said.keys()
    for variable, text in said.items():
        assert found[variable].startswith(variable)
        assert text in found[variable]
    assert "hush" not in str(found)


def test_what_the_environment_overrides_is_not_complained_about() -> None:
    """A lost or doubtful line that decides nothing."""
    file = parse(b"LIVEKIT_API_SECRET='hush\nOPENAI_API_KEY=a#b\n")
    assert [fault.variable for fault in file.faults_in({})] == ["OPENAI_API_KEY", "LIVEKIT_API_SECRET"]
    assert file.faults_in({"LIVEKIT_API_SECRET": "set", "OPENAI_API_KEY": "set"}) == ()


def test_a_variable_that_is_lost_is_not_called_missing() -> None:
    """The worker's error names what swallowed it, be it required or not."""
    written((CASES / "single-quote-left-open.env").read_bytes())
    with pytest.raises(SettingsError) as error:
        read_settings()
    assert str(error.value) == (
        "LIVEKIT_API_SECRET in .env.local, line 3: expected quotes around the whole value, or none; "
        "possible cause: a ' that is left open"
    )
    written("".join(f"{name}={value}\n" for name, value in KEYS.items()) + "OTEL_SERVICE_NAME='a\n")
    with pytest.raises(SettingsError, match=r"^OTEL_SERVICE_NAME in \.env\.local, line 6"):
        read_settings()


def test_a_file_that_cannot_be_read_gets_one_line(tmp_path: Path) -> None:
    """Not a traceback out of a decoder: UTF-16, Latin-1, and the folder that Docker makes of a file that isn't there."""
    for content, cause in (
        ((CASES / "utf16.env").read_bytes(), "an editor saved it as UTF-16"),
        ("OPENAI_API_KEY=größer".encode("latin-1"), "it is in an older encoding"),
    ):
        written(content)
        with pytest.raises(EnvFileError) as error:
            env_file.load()
        assert str(error.value) == f".env.local: expected text in UTF-8; possible cause: {cause}"
        with pytest.raises(SettingsError, match=f"possible cause: {cause}$"):
            read_settings()
    Path(".env.local").unlink()
    Path(".env.local").mkdir()
    with pytest.raises(EnvFileError, match="expected a file that can be read; possible cause: Is a directory"):
        env_file.load()


def test_a_command_says_what_the_worker_would(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each fault; where the file can't be read, the command ends with exit code 2."""
    written((CASES / "inline-comment-no-blank.env").read_bytes())
    load_environment()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == list(KEYS)
    written((CASES / "utf16.env").read_bytes())
    with pytest.raises(typer.Exit) as ended:
        load_environment()
    said = "firstword: .env.local: expected text in UTF-8; possible cause: an editor saved it as UTF-16\n"
    assert (ended.value.exit_code, capsys.readouterr().err) == (2, said)


def test_without_a_file_the_environment_stays_as_it_is() -> None:
    """And nothing is said."""
    before = dict(os.environ)
    assert env_file.load() == env_file.EnvFile()
    assert dict(os.environ) == before
