"""The worker's settings, read from the environment once, so that no session parses a variable while a caller waits.

First in the data path: whatever else the worker builds is given a `Settings`. `OTEL_*` is read by OpenTelemetry,
`FLAGD_*` by the flag provider, both from the environment, which `firstword.agent.env_file` fills. A row of `Settings` is a row of docs/settings.md; a test keeps the two equal.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from firstword.agent import env_file
from firstword.agent.call_settings import DEFAULTS
from firstword.agent.env_file import EnvFileError
from firstword.agent.setting_values import (
    EXTRA,
    MISSING,
    SOURCE,
    WRONG,
    AccountSource,
    BaseUrl,
    Key,
    LiveKitUrl,
    MayBe,
    Name,
    Names,
    Seconds,
    SecondsFromZero,
    checked_cache_url,
    checked_store_url,
    default_store,
    is_quoted,
    needed_by,
    noise_filter,
    own_parts,
    unquoted,
    writable_folder,
)
from firstword.telemetry.times import SLOW_S

_PREFIX: Final = "FIRSTWORD_"


def read_settings() -> Settings:
    """Returns the settings that the environment has, after filling it from `.env.local` of the working directory.
    Raises SettingsError.
    """
    try:
        file = env_file.load()
    except EnvFileError as error:
        raise SettingsError([str(error)]) from None
    lost = {fault.variable: str(fault) for fault in file.faults_in(os.environ) if fault.lost}
    problems: dict[str, str] = {}
    hint = ""
    try:
        read = Settings()  # pyright: ignore[reportCallIssue]  # the required ones come from the environment
    except ValidationError as error:
        for detail in error.errors():
            name = variable(_field(detail["loc"]))
            problems[name] = _problem(detail["loc"], detail["type"], detail["input"], detail["msg"])
            if detail["type"] == MISSING and name not in lost:
                hint = _where_looked_for()
    else:
        if not lost:
            return read
    # outside of `except`: pydantic's error holds every input, the secrets too
    raise SettingsError({**problems, **lost}.values(), hint)


def read_store_url() -> str:
    """Returns the URL of the account store, as `Settings.store_url` has it, for what needs no other setting. Raises
    SettingsError.
    """
    try:
        env_file.load()
        named = os.environ.get(variable("store_url"))
        url = checked_store_url(SecretStr(named)) if named else default_store()
    except EnvFileError as error:
        raise SettingsError([str(error)]) from None
    except (ValueError, PydanticCustomError) as error:
        kind = error.type if isinstance(error, PydanticCustomError) else "value_error"
        message = error.message() if isinstance(error, PydanticCustomError) else ""
        raise SettingsError([_problem((variable("store_url"),), kind, "", message)]) from None
    return url.get_secret_value()


@cache
def settings() -> Settings:
    """Returns the settings of this process, read at the first call (`cached-config`). Raises SettingsError."""
    return read_settings()


class SettingsError(Exception):
    """Raised for variables that are wrong or missing. Its text has a line for each, without any secret, and may end
    with a hint.
    """

    def __init__(self, problems: Iterable[str], hint: str = "") -> None:
        self.problems: Final = tuple(problems)
        super().__init__("\n".join((*self.problems, hint) if hint else self.problems))


class PartsError(SettingsError):
    """Raised for `FIRSTWORD_PARTS` that names no parts, or parts that can't be made. Its text is one line."""

    def __init__(self, problem: str) -> None:
        super().__init__([problem])


class Settings(BaseSettings):
    """All settings of the shipped worker, read from the environment. Times are in seconds. They can't be changed once
    they are read.
    """

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    livekit_url: LiveKitUrl = Field(validation_alias="LIVEKIT_URL", description="the LiveKit server")
    livekit_api_key: Key = Field(validation_alias="LIVEKIT_API_KEY", description="its key")
    livekit_api_secret: Key = Field(validation_alias="LIVEKIT_API_SECRET", description="its secret")
    parts: Annotated[str | None, AfterValidator(own_parts), MayBe("`module:class`")] = Field(
        None, description="your own STT, LLM, TTS, assistant, tools or account store; unset: those that ship"
    )
    openai_api_key: Annotated[Key, needed_by("llm")] = Field(
        SecretStr(""),
        validate_default=True,
        validation_alias="OPENAI_API_KEY",
        description="key of the LLM, unless `FIRSTWORD_PARTS` has its own",
    )
    openai_base_url: BaseUrl = Field(
        "https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL", description="where the LLM is"
    )
    deepgram_api_key: Annotated[Key, needed_by("stt", "tts")] = Field(
        SecretStr(""),
        validate_default=True,
        validation_alias="DEEPGRAM_API_KEY",
        description="key of STT and TTS, unless `FIRSTWORD_PARTS` has its own of both",
    )
    deepgram_base_url: BaseUrl = Field(
        "https://api.deepgram.com/v1", validation_alias="DEEPGRAM_BASE_URL", description="where STT and TTS are"
    )

    agent_name: Annotated[
        str,
        Field(pattern=r"^[\w.:/@-]{0,100}$"),
        MayBe("a name of letters, digits and `.:/@-_`, 100 at most, or empty"),
    ] = Field("firstword", description="under which the worker registers; empty: LiveKit's automatic dispatch")
    profile: Annotated[
        str | None, Field(pattern=r"^[a-z][a-z-]*(,[a-z][a-z-]*)*$"), MayBe("`baseline`, `tuned`, or flags with commas")
    ] = Field(None, description="overrides the flag source")
    flag_provider: Annotated[str | None, MayBe("`module:factory`")] = Field(
        None, description="makes another OpenFeature provider; unset: flagd's file, or what `FLAGD_RESOLVER` says"
    )
    executor: Annotated[Literal["process", "thread"], MayBe("`process` or `thread`")] = Field(
        "process", description="what runs a job"
    )
    idle_processes: Annotated[int | None, Field(ge=0, le=1000), MayBe("a whole number, 0 or more")] = Field(
        None, description="kept ready for jobs; unset: LiveKit's own"
    )
    fixed_load: Annotated[
        float | None,
        Field(ge=0, lt=0.7),
        MayBe("a number from 0 to less than 0.7, at which LiveKit gives the worker no job"),
    ] = Field(None, description="reported to LiveKit instead of the CPU's, for small busy machines")
    greeting_writer: Annotated[Literal["template", "llm"], MayBe("`template` or `llm`")] = Field(
        "template", description="who writes the greeting; `llm` writes it after each call for the next one"
    )
    prefetch_accounts: Annotated[int, Field(ge=0, le=1000), MayBe("a whole number from 0 to 1000")] = Field(
        50,
        description="common accounts whose greetings are spoken before they call; their names go to the TTS provider",
    )
    resumption: Annotated[Literal["on", "off"], MayBe("`on` or `off`")] = Field(
        "on", description="whether the assistant is told what an account's caller said last, for 30 days"
    )
    redaction: Annotated[Literal["on", "off"], MayBe("`on` or `off`")] = Field(
        "on", description="takes what is private out of spans and logs; `off` only where nobody's calls are real"
    )
    noise_cancellation: Annotated[
        Literal["off", "bvc"],
        AfterValidator(noise_filter),
        MayBe("`off`, or `bvc` where firstword[noise-cancellation] is installed"),
    ] = Field("off", description="`bvc` wants LiveKit Cloud")
    kept_topics: Annotated[Names, MayBe("topics with commas between them")] = Field(
        (), description="streams on these topics wait for your handler, from the connect on"
    )
    kept_methods: Annotated[Names, MayBe("RPC methods with commas between them")] = Field(
        (), description="calls of these RPC methods wait for your handler, from the connect on"
    )
    traces: Annotated[str | None, AfterValidator(writable_folder), MayBe("a folder that can be written to")] = Field(
        None, description="each process appends its spans to a file in it, as OTLP JSON lines"
    )
    http_host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$"), MayBe("an address of this machine")] = Field(
        "127.0.0.1", description="where the health check listens; `0.0.0.0` or `::` for probes from outside"
    )
    http_port: Annotated[int | None, Field(ge=0, le=65535), MayBe("a port, or 0 for a free one")] = Field(
        None, description="of the worker's health check; unset: LiveKit's own"
    )
    drain: Annotated[int | None, Field(ge=1, le=86_400), MayBe("a whole number of seconds, from 1 to 86400")] = Field(
        None, description="that a worker which ends gives its calls; unset: LiveKit's own, 3600"
    )
    apology: Annotated[str | None, MayBe("a sound file")] = Field(
        None, description="what the caller hears when a call can't go on; `{language}` stands for the account's"
    )
    llm_model: Name = Field("gpt-4.1", description="model of the LLM")
    stt_model: Name = Field("nova-3", description="model of STT")
    tts_voice: Name = Field("aura-2-andromeda-en", description="voice where the account names none")

    store_url: Annotated[
        SecretStr,
        AfterValidator(checked_store_url),
        MayBe("`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`"),
    ] = Field(default_factory=default_store, description="the accounts; unset: an SQLite file among the user's data")
    cache_url: Annotated[
        SecretStr | None, AfterValidator(checked_cache_url), MayBe("`redis://HOST` or `rediss://HOST`")
    ] = Field(None, description="cache shared by machines; unset: an SQLite file shared by processes")
    cache_days: Annotated[float, Field(gt=0, le=3650), MayBe("days, more than 0")] = Field(
        7, description="how long personal audio is kept; it goes with the account"
    )
    account_sources: Annotated[
        str,
        Field(pattern=rf"^{SOURCE}(,{SOURCE})*$"),
        MayBe("`claim`, `metadata`, `attribute`, `caller-id`, with commas"),
    ] = Field(
        "claim",
        description="who may name a call's account: a signed claim, the job's metadata, the caller's attributes, or a telephone's "
        "number for the greeting alone. Metadata and attributes are true only where your own server writes them and copies "
        "neither from a browser",
    )
    claim_key: Annotated[
        SecretStr | None,
        Field(min_length=32),
        AfterValidator(unquoted),
        MayBe("32 characters or more, without quotes around them"),
    ] = Field(None, description="secret that claims are signed with (HS256); unset: no claim is taken")
    account_key: Annotated[
        SecretStr | None,
        Field(min_length=16),
        AfterValidator(unquoted),
        MayBe("16 characters or more, without quotes around them"),
    ] = Field(None, description="secret for the accounts' hash in traces; unset: no account is in any")

    start_timeout: Seconds = Field(DEFAULTS.start_timeout, description="a start")
    caller_timeout: Seconds = Field(DEFAULTS.caller_timeout, description="an absent caller")
    return_grace: SecondsFromZero = Field(
        DEFAULTS.return_grace, description="a caller who left and may come back, before the call ends"
    )
    max_call: Seconds = Field(DEFAULTS.max_call, description="a call; the agent ends a longer one")
    slow: Seconds = Field(SLOW_S, description="time to first word above which a start is `startup.slow`")
    join_window: SecondsFromZero = Field(
        5, description="joined before the job was received by no more than this: dispatch `join`, else `late`"
    )

    # One for each fallback, in the order in which they may strike.
    flags_deadline: Seconds = Field(0.5, description="flag source, then the last good flags")
    account_deadline: Seconds = Field(1, description="account from the store, then the generic account")
    cache_deadline: Seconds = Field(0.2, description="cache, then none")
    greeting_deadline: Seconds = Field(
        DEFAULTS.greeting_deadline, description="personal greeting, then the generic one"
    )
    speech_deadline: Seconds = Field(
        DEFAULTS.speech_deadline, description="TTS, then audio that ships with the package"
    )
    store_deadline: Seconds = Field(1, description="resumption data, analytics: each read or write, then without")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty variable is one nobody set; the agent's name alone may be empty."""
        return {name: value for name, value in values.items() if value != "" or name == "agent_name"}


def account_sources(named: str) -> frozenset[AccountSource]:
    """Returns the sources that may name an account, from the text of `Settings.account_sources`."""
    return frozenset(cast("list[AccountSource]", named.split(",")))


def claim_key_missing(sources: Collection[str], *, key: bool) -> str | None:
    """Returns a warning if claims are to be accepted but there is no key to check them with; else None.

    sources: see `account_sources`. key: whether FIRSTWORD_CLAIM_KEY is set.
    """
    if "claim" not in sources or key:
        return None
    what = "no account can be named" if len(sources) == 1 else "no claim can name an account"
    return f"{what}: FIRSTWORD_ACCOUNT_SOURCES has `claim`, and FIRSTWORD_CLAIM_KEY is not set"


def variable(field: str) -> str:
    """Returns the name of the environment variable that sets the field. Raises KeyError if there is no such field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{_PREFIX}{field.upper()}"


def may_be(field: str) -> str:
    """Returns in words which values the field may have. Raises KeyError if there is no such field."""
    return next(entry.text for entry in Settings.model_fields[field].metadata if isinstance(entry, MayBe))


def _field(location: tuple[int | str, ...]) -> str:
    return next(name for name in Settings.model_fields if location[0] in (name, variable(name)))


def _problem(location: tuple[int | str, ...], kind: str, value: object, message: str) -> str:
    field = _field(location)
    if kind == EXTRA:
        return f"{variable(field)} needs a package that is not installed; expected: {message}"
    if kind == MISSING:
        return f"{variable(field)} is missing; expected {may_be(field)}"
    cause = (
        message if kind == WRONG else _cause(str(value.get_secret_value() if isinstance(value, SecretStr) else value))
    )
    cause = f"; possible cause: {cause}" if cause else ""
    return f"{variable(field)} is {_shown(field, str(value))}; expected {may_be(field)}{cause}"


def _cause(value: str) -> str:
    """What people don't see in a wrong value; nothing of the value itself."""
    if is_quoted(value):
        return "quotes that belong to the value, as `docker --env-file` takes them"
    if hidden := next((each for each in value if not each.isprintable()), None):
        return "a line break" if hidden in "\r\n" else f"a character that can't be seen (U+{ord(hidden):04X})"
    if " " in value:
        return "a blank"
    return "a comment without a blank before its #" if "#" in value else ""


def _where_looked_for() -> str:
    """Why nothing came from the file, where it is not there."""
    if Path(env_file.ENV_FILE).exists():
        return ""
    other = "; .env is there, and is not read" if Path(".env").exists() else ""
    return f"possible cause: no {env_file.ENV_FILE} in {Path.cwd()}{other}"


def _shown(field: str, value: str) -> str:
    """A wrong value as an error may show it: nothing of a secret, of a URL neither user, password nor query."""
    if "Secret" in str(Settings.model_fields[field].annotation):
        return "wrong (a secret, not shown)"
    if field.endswith("_url"):
        scheme, separator, rest = value.partition("://")
        # A key pasted into the wrong variable has no "://": show nothing of it.
        value = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if separator else "no URL"
    return repr(value if len(value) <= 60 else f"{value[:60]}…")
