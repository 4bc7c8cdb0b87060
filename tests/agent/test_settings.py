"""firstword.agent.settings: what the environment says, once, and a line for each thing it says wrong."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from livekit.agents import AgentServer
from livekit.plugins import deepgram, openai
from pydantic import SecretStr, ValidationError

from firstword.agent.settings import Settings, SettingsError, may_be, read_settings, settings, variable

TABLE = Path(__file__).parents[2] / "docs" / "settings.md"
REQUIRED = {
    "LIVEKIT_URL": "ws://localhost:7880",
    "LIVEKIT_API_KEY": "devkey",
    "LIVEKIT_API_SECRET": "hush-livekit",
    "OPENAI_API_KEY": "hush-openai",
    "DEEPGRAM_API_KEY": "hush-deepgram",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what is required is set, and no .env.local is around."""
    for name in os.environ:
        if name.startswith(("FIRSTWORD_", "LIVEKIT_", "OPENAI_", "DEEPGRAM_")):
            monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()


def problem_of(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    """The whole text of the error for one wrong variable."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        read_settings()
    return str(raised.value)


def test_only_server_and_keys_must_be_set() -> None:
    """Everything else has a default that works."""
    read = read_settings()
    assert read.livekit_url == "ws://localhost:7880"
    assert read.livekit_api_secret.get_secret_value() == "hush-livekit"
    assert (read.agent_name, read.executor, read.idle_processes, read.slow) == ("firstword", "process", None, 1.5)
    assert read.store_url.get_secret_value().startswith("sqlite+aiosqlite:////")
    assert read.cache_url is read.account_key is read.profile is None


def test_what_is_missing_is_named_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at once, so that nobody runs it five times; an empty one is missing too."""
    for name in REQUIRED:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "")
    with pytest.raises(SettingsError) as raised:
        read_settings()
    key = "expected a key of characters that can be seen, without blanks or quotes around it"
    assert str(raised.value).splitlines() == [
        "LIVEKIT_URL is missing; expected a ws, wss, http or https URL",
        f"LIVEKIT_API_KEY is missing; {key}",
        f"LIVEKIT_API_SECRET is missing; {key}",
        f"OPENAI_API_KEY is missing; {key}",
        f"DEEPGRAM_API_KEY is missing; {key}",
        f"possible cause: no .env.local in {Path.cwd()}",
    ]
    Path(".env").touch()
    with pytest.raises(SettingsError, match=r"no \.env\.local in .*; \.env is there, and is not read$"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("LIVEKIT_URL", "localhost:7880", "'no URL'"),
        ("LIVEKIT_URL", "ftp://host", "'ftp://host'"),
        ("LIVEKIT_URL", "ws://", "'ws://'"),
        ("LIVEKIT_URL", "ws://host:port", "'ws://host:port'"),
        ("LIVEKIT_URL", "ws://[::1", "'ws://[::1'"),
        ("LIVEKIT_URL", "ws://ho\nst", r"'ws://ho\nst'"),
        ("OPENAI_BASE_URL", "https://host", "'https://host'"),
        ("OPENAI_BASE_URL", "ws://host/v1", "'ws://host/v1'"),
        ("DEEPGRAM_BASE_URL", "https://host/v1/listen", "'https://host/v1/listen'"),
        ("FIRSTWORD_AGENT_NAME", "two words", "'two words'"),
        ("FIRSTWORD_PROFILE", "Tuned", "'Tuned'"),
        ("FIRSTWORD_EXECUTOR", "fork", "'fork'"),
        ("FIRSTWORD_IDLE_PROCESSES", "-1", "'-1'"),
        ("FIRSTWORD_IDLE_PROCESSES", "1.5", "'1.5'"),
        ("FIRSTWORD_FIXED_LOAD", "0.7", "'0.7'"),
        ("FIRSTWORD_NOISE_CANCELLATION", "on", "'on'"),
        ("FIRSTWORD_GREETING_WRITER", "LLM", "'LLM'"),
        ("FIRSTWORD_START_TIMEOUT", "0", "'0'"),
        ("FIRSTWORD_START_TIMEOUT", "nan", "'nan'"),
        ("FIRSTWORD_CALLER_TIMEOUT", "inf", "'inf'"),
        ("FIRSTWORD_RETURN_GRACE", "-0.1", "'-0.1'"),
        ("FIRSTWORD_SLOW", "1,5", "'1,5'"),
        ("FIRSTWORD_SLOW", "9" * 99 + "x", f"'{'9' * 60}…'"),
        ("FIRSTWORD_CACHE_DAYS", "0", "'0'"),
        ("FIRSTWORD_TTS_VOICE", "a voice", "'a voice'"),
        ("FIRSTWORD_TRACES", "/etc/hostname/traces", "'/etc/hostname/traces'"),
        ("FIRSTWORD_TRACES", "/etc/hostname", "'/etc/hostname'"),
    ],
)
def test_a_wrong_value_gets_one_line(name: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable, what it was, and what was expected."""
    field = next(field for field in Settings.model_fields if variable(field) == name)
    said = problem_of(monkeypatch, name, value)
    assert said.partition("; possible cause: ")[0] == f"{name} is {shown}; expected {may_be(field)}"


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("OPENAI_API_KEY", '"hush-key"', "quotes that belong to the value, as `docker --env-file` takes them"),
        ("FIRSTWORD_ACCOUNT_KEY", "'hush hush hush hush'", "quotes that belong to the value"),
        ("FIRSTWORD_TRACES", '"traces"', "quotes that belong to the value"),
        ("FIRSTWORD_PROFILE", "'tuned'", "quotes that belong to the value"),
        ("OPENAI_API_KEY", "hush\u200bkey", "a character that can't be seen (U+200B)"),
        ("LIVEKIT_API_SECRET", "hush\n", "a line break"),
        ("LIVEKIT_API_SECRET", "hush hush", "a blank"),
        ("FIRSTWORD_AGENT_NAME", "first word agent", "a blank"),
        ("LIVEKIT_URL", "ws://127.0.0.1:7880#dashboard", "a comment without a blank before its #"),
        ("OPENAI_BASE_URL", "http://host/v1#ours", "a comment without a blank before its #"),
    ],
)
def test_what_is_hard_to_see_is_named(name: str, value: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a possible cause, without the value of a secret."""
    said = problem_of(monkeypatch, name, value)
    assert f"; possible cause: {cause}" in said
    assert "hush" not in said


def test_a_load_at_which_no_job_comes_is_refused() -> None:
    """From LiveKit's threshold on its server offers the worker no job; a new threshold fails here."""
    threshold = inspect.signature(AgentServer).parameters["load_threshold"].default.prod_default
    assert f"less than {threshold:g}" in may_be("fixed_load")


@pytest.mark.parametrize(
    ("name", "value", "package", "extra"),
    [
        ("FIRSTWORD_STORE_URL", "postgres://user:hush@host/db", "asyncpg", "postgres"),
        ("FIRSTWORD_CACHE_URL", "rediss://:hush@host", "redis", "redis"),
        ("FIRSTWORD_NOISE_CANCELLATION", "bvc", "livekit.plugins.noise_cancellation", "noise-cancellation"),
    ],
)
def test_a_setting_whose_extra_is_missing_says_how_to_install_it(
    name: str, value: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the process starts, and not in a session."""
    monkeypatch.setitem(sys.modules, package, None)
    line = f"{name} needs a package that is not installed; expected: pip install 'firstword[{extra}]'"
    assert problem_of(monkeypatch, name, value) == line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVEKIT_API_SECRET", "hush secret"),
        ("OPENAI_API_KEY", "hush\n"),
        ("FIRSTWORD_ACCOUNT_KEY", "hush"),
        ("FIRSTWORD_STORE_URL", "mysql://user:hush@host/db"),
        ("FIRSTWORD_STORE_URL", "sqlite://hush.db"),
        ("FIRSTWORD_STORE_URL", "sqlite:///:memory:"),
        ("FIRSTWORD_STORE_URL", "hush"),
        ("FIRSTWORD_STORE_URL", "postgresql://"),
        ("FIRSTWORD_CACHE_URL", "http://:hush@host"),
        ("LIVEKIT_URL", "hush-key-in-the-wrong-variable"),
        ("LIVEKIT_URL", "ftp://user:hush@host?token=hush"),
        ("OPENAI_BASE_URL", "https://hush:hush@host/v2?key=hush"),
    ],
)
def test_no_error_shows_a_secret(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its text, nor the error it came from, which a traceback would print."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        read_settings()
    assert str(raised.value).startswith(f"{name} is ")
    assert "\n" not in str(raised.value)
    assert "hush" not in str(raised.value)
    assert raised.value.__context__ is None


def test_no_repr_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in a log give nothing away, the passwords in URLs included."""
    monkeypatch.setenv("FIRSTWORD_STORE_URL", "postgresql://user:hush@host/db")
    monkeypatch.setenv("FIRSTWORD_CACHE_URL", "redis://:hush@host")
    monkeypatch.setenv("FIRSTWORD_ACCOUNT_KEY", "hush hush hush hush")
    assert "hush" not in f"{read_settings()!r} {read_settings()}"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://u:p@host/db", "postgresql+asyncpg://u:p@host/db"),
        ("postgres://u:p@host/db", "postgresql+asyncpg://u:p@host/db"),
        ("postgresql+asyncpg://u@/db?host=/run/pg", "postgresql+asyncpg://u@/db?host=/run/pg"),
        ("sqlite:///accounts.db", "sqlite+aiosqlite:///accounts.db"),
        ("sqlite:////var/accounts.db", "sqlite+aiosqlite:////var/accounts.db"),
        ("sqlite+simulated:///accounts.db?latency=0.12", "sqlite+simulated:///accounts.db?latency=0.12"),
    ],
)
def test_a_store_without_a_driver_gets_ours(given: str, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people have in their environment already works as it is."""
    monkeypatch.setenv("FIRSTWORD_STORE_URL", given)
    assert read_settings().store_url.get_secret_value() == read


def test_only_the_agents_name_may_be_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """There it means automatic dispatch; elsewhere an empty variable is one that nobody set."""
    for name in ("AGENT_NAME", "SLOW", "PROFILE", "STORE_URL", "IDLE_PROCESSES", "ACCOUNT_KEY"):
        monkeypatch.setenv(f"FIRSTWORD_{name}", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    read = read_settings()
    assert read.agent_name == ""
    assert (read.slow, read.profile, read.idle_processes, read.account_key) == (1.5, None, None, None)
    assert read.openai_base_url == "https://api.openai.com/v1"


def test_a_folder_for_traces_need_not_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is made by the first process that exports."""
    monkeypatch.setenv("FIRSTWORD_TRACES", str(tmp_path / "not" / "yet"))
    assert read_settings().traces == str(tmp_path / "not" / "yet")
    monkeypatch.setenv("FIRSTWORD_TRACES", "here")
    assert read_settings().traces == "here"


def test_noise_cancellation_is_taken_where_its_extra_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The plugin is looked for, and not loaded."""
    plugin = tmp_path / "livekit" / "plugins" / "noise_cancellation.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FIRSTWORD_NOISE_CANCELLATION", "bvc")
    assert read_settings().noise_cancellation == "bvc"


def test_urls_end_without_a_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a path can be added."""
    monkeypatch.setenv("DEEPGRAM_BASE_URL", "http://127.0.0.1:8080/v1/")
    assert read_settings().deepgram_base_url == "http://127.0.0.1:8080/v1"


def test_settings_are_parsed_once_a_process_and_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """`settings()` keeps what it read; `read_settings()` reads again (`cached-config` off)."""
    first = settings()
    monkeypatch.setenv("FIRSTWORD_SLOW", "9")
    assert settings() is first
    assert read_settings().slow == 9
    with pytest.raises(ValidationError, match="frozen"):
        first.slow = 2  # pyright: ignore[reportAttributeAccessIssue]  # what the test is about


def test_default_models_are_the_plugins_own() -> None:
    """A new default of the plugins fails here, so that it is a decision."""
    defaults = Settings.model_fields
    for plugin, parameter, field in (
        (openai.LLM, "model", "llm_model"),
        (deepgram.STT, "model", "stt_model"),
        (deepgram.TTS, "model", "tts_voice"),
    ):
        assert inspect.signature(plugin).parameters[parameter].default == defaults[field].default


def table() -> str:
    """docs/settings.md's table as the model has it."""
    rows = ["| variable | default | expected | |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = (
            "required"
            if field.is_required() or field.default == SecretStr("")
            else ""
            if field.default in (None, (), ...)
            else f"`{field.default}`"
        )
        if field.default_factory is not None:
            default = ""
        rows.append(f"| `{variable(name)}` | {default} | {may_be(name)} | {field.description} |")
    return "\n".join(rows)


def test_the_table_of_settings_is_the_model() -> None:
    """After a change: paste what the failure shows into docs/settings.md."""
    assert table() in TABLE.read_text()


def test_settings_import_nothing_of_livekit_or_the_store() -> None:
    """They are the first thing a process reads; what they import is start-up time."""
    code = "import sys, firstword.agent.settings; sys.exit(bool({'livekit', 'sqlalchemy', 'platformdirs'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=TABLE.parents[1]).returncode == 0
