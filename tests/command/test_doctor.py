"""`firstword doctor` on settings and collector: it says what a worker in this folder would meet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firstword.command import doctor
from firstword.command.__main__ import app
from firstword.rehearsal.processes import free_ports
from firstword.telemetry import switch
from tests.telemetry.test_arrival import over_http as over_http

CASES = Path(__file__).parents[1] / "agent" / "env_cases"
KEYS = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "OPENAI_API_KEY", "DEEPGRAM_API_KEY")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def findings(case: str | None = None, *, collector: int = 4317) -> dict[str, tuple[str, str]]:
    """State and detail by name, each name once; with this file as `.env.local`, and the collector at this port."""
    if case is not None:
        Path(".env.local").write_bytes((CASES / case).read_bytes().replace(b":4317", f":{collector}".encode()))
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    found = json.loads(result.stdout)["findings"]
    names = [each["name"] for each in found]
    assert len(names) == len(set(names))
    return {each["name"]: (each["state"], each["detail"]) for each in found}


def test_otel_and_flagd_of_the_file_count() -> None:
    """As they do for the worker: nobody listens there, and the flag file is not there."""
    (free,) = free_ports(1)  # the usual one may be that of a collector beside the tests
    found = findings("otel.env", collector=free)
    assert [found[name] for name in KEYS] == [("ok", "is set")] * 5
    assert found["collector"][0] == found["collector, metrics"][0] == "missing"
    assert f"spans to 127.0.0.1:{free} over grpc don't arrive" in found["collector"][1]
    assert found["flags"][0] == "missing"
    assert found["flags"][1].startswith("folder/fractional-one-bucket.json: expected a file that can be read")


def test_a_file_that_is_no_text_is_one_line() -> None:
    """And what else there is to look at is looked at."""
    found = findings("utf16.env")
    assert found[".env.local"] == ("missing", "expected text in UTF-8; possible cause: an editor saved it as UTF-16")
    assert found["OPENAI_API_KEY"] == ("absent", "is not set")
    assert found["flags"][0] == "ok"


def test_names_in_any_case_are_set() -> None:
    """As for the worker."""
    assert [findings("lower-case.env")[name] for name in KEYS] == [("ok", "is set")] * 5


def test_what_may_not_be_meant_is_named_by_its_variable() -> None:
    """A key with a `#` works, and is in doubt; a URL with one can't be."""
    found = findings("inline-comment-no-blank.env")
    assert found["LIVEKIT_URL"][0] == "missing"
    assert "a comment without a blank before its #" in found["LIVEKIT_URL"][1]
    assert [found[name][0] for name in KEYS[1:]] == ["doubtful"] * 4


def test_a_reference_in_a_secret_is_named() -> None:
    """Its value is another than the file seems to say."""
    state, detail = findings("dollar.env")["LIVEKIT_API_SECRET"]
    assert (state, "${HOME} was replaced" in detail) == ("doubtful", True)


def test_a_swallowed_line_is_named() -> None:
    """In place of `is not set`."""
    state, detail = findings("single-quote-left-open.env")["LIVEKIT_API_SECRET"]
    assert state == "missing"
    assert detail.startswith("in .env.local, line 3: expected quotes around the whole value, or none")


def test_a_hidden_character_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one that says ok beside another that says wrong."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\u200bhush")
    monkeypatch.setenv("DEEPGRAM_API_KEY", '"hush"')
    found = findings()
    assert found["OPENAI_API_KEY"][0] == found["DEEPGRAM_API_KEY"][0] == "missing"
    assert "a character that can't be seen (U+200B)" in found["OPENAI_API_KEY"][1]
    assert "quotes that belong to the value" in found["DEEPGRAM_API_KEY"][1]


def test_where_no_file_is_the_folder_is_said() -> None:
    """And that a `.env` beside it is not read."""
    Path(".env").touch()
    found = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["findings"]
    (finding,) = [each for each in found if each["name"] == ".env.local"]
    assert (finding["state"], finding["detail"]) == ("absent", f"none in {Path.cwd()}")
    assert finding["advice"] == ".env is there, and is not read"


def test_the_receivers_answer_is_shown(over_http: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty export is sent to where a worker would send, over what it would speak."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://{over_http}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    found = findings()
    assert found["collector"] == (
        "ok",
        f"{over_http} took an empty export over http/protobuf (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)",
    )
    assert found["collector, metrics"] == (
        "absent",
        "nothing is sent: OTEL_EXPORTER_OTLP_ENDPOINT is not set; `firstword up` runs one",
    )
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert findings()["collector"] == ("absent", "nothing is sent: OTEL_SDK_DISABLED is true")


def test_what_is_asked_of_the_exporters_and_cannot_be_done_is_said(
    over_http: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent to a console; a protocol that is not spoken here is named beside what came of it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{over_http}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    found = findings()
    assert found["collector"][0] == "missing"
    assert "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json', which is not spoken here" in found["collector"][1]
    assert "the port speaks http/protobuf" in found["collector"][1]
    assert found["collector, metrics"] == (
        "missing",
        "OTEL_METRICS_EXPORTER is 'console', which is not built in; expected otlp or none; "
        "nothing is sent: OTEL_METRICS_EXPORTER is console",
    )
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp,console")
    assert findings()["collector, metrics"][0] == "doubtful"


@pytest.mark.parametrize(
    ("value", "state", "says"),
    [
        ("", "absent", "off"),
        ("0", "absent", "off"),
        ("1", "ok", "of 100 % of the sessions"),
        ("0.05", "ok", "of 5 % of the sessions"),
        ("on", "doubtful", "FIRSTWORD_OBSERVE is 'on'; expected 1, or the share of sessions"),
    ],
)
def test_observation_is_said(monkeypatch: pytest.MonkeyPatch, value: str, state: str, says: str) -> None:
    """A value that is none leaves it off, and nothing else is wrong."""
    monkeypatch.setenv("FIRSTWORD_OBSERVE", value)
    monkeypatch.setattr(switch, "registered", lambda: True)
    found = findings()["observation"]
    assert (found[0], found[1][: len(says)]) == (state, says)


def test_what_observes_nothing_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another event loop; a variable that only our own worker reads."""
    Path(".env.local").write_text("FIRSTWORD_OBSERVE=1\n")
    state, detail = findings()["observation"]
    assert (state, detail) == ("doubtful", "FIRSTWORD_OBSERVE is in .env.local, which only our own worker reads")

    def why_not(_: object) -> str:
        return "the event loop is uvloop.Loop"

    monkeypatch.setattr(doctor, "why_not", why_not)
    state, detail = findings()["observation"]
    assert (state, detail) == ("doubtful", "asked for, and not possible: the event loop is uvloop.Loop")


@pytest.mark.parametrize(
    ("sources", "key", "state", "says"),
    [
        (None, False, "absent", "no account can be named: FIRSTWORD_ACCOUNT_SOURCES has `claim`"),
        ("claim,metadata", False, "absent", "no claim can name an account"),
        (None, True, "ok", "named by claim"),
        ("metadata,caller-id", False, "ok", "named by metadata, caller-id"),
    ],
)
def test_who_may_name_an_account_is_said(
    monkeypatch: pytest.MonkeyPatch, sources: str | None, key: bool, state: str, says: str
) -> None:
    """And without a key for the claims that nobody can; what each source believes is said beside it."""
    if sources is not None:
        monkeypatch.setenv("FIRSTWORD_ACCOUNT_SOURCES", sources)
    if key:
        monkeypatch.setenv("FIRSTWORD_CLAIM_KEY", "k" * 32)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    (found,) = (each for each in json.loads(result.stdout)["findings"] if each["name"] == "accounts")
    assert (found["state"], found["detail"][: len(says)]) == (state, says)
    assert ("copies it from the browser" in found["advice"]) is ("metadata" in (sources or ""))
    assert ("easily faked" in found["advice"]) is ("caller-id" in (sources or ""))
