"""What the values of settings may be: their kinds, checks, and the words for each.

Below `firstword.agent.settings`, whose fields and errors take them from here. A check raises ValueError, or the error
of a setting with one of the types below.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, TypeVar, cast, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from firstword.agent.folders import can_be_written, data_folder
from firstword.telemetry.extras import install

Secret = TypeVar("Secret", SecretStr, SecretStr | None)

EXTRA: Final = "missing_extra"
"""Type of the error of a setting for which a package is not installed; its message is the command that installs it."""
MISSING: Final = "missing"
"""Type of the error of a setting that must be set: pydantic's own."""
WRONG: Final = "wrong"
"""Type of the error of a wrong value whose message says why."""
_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_STORES: Final = ("sqlite+aiosqlite", "sqlite+simulated", "postgresql+asyncpg")


@dataclass(frozen=True, slots=True)
class MayBe:
    """Says in words which values a setting may have, for its error and for docs/settings.md."""

    text: str


def _url(*schemes: str, end: str = "") -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        port_is_number = parts.port is None or parts.port > 0  # reading it raises ValueError for any other text
        path = parts.path.rstrip("/")
        clean = value.isprintable() and " " not in value  # urlsplit drops line breaks without a word
        whole = clean and port_is_number and not parts.fragment  # which no server is ever sent
        if not (whole and parts.scheme in schemes and parts.hostname and path.endswith(end)):
            raise ValueError
        return value.rstrip("/")

    return AfterValidator(check)


def _key(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not secret.isprintable() or " " in secret:  # a line break at the end fails much later, as a wrong signature
        raise ValueError
    return unquoted(value)


def unquoted(value: Secret) -> Secret:
    """Returns the secret. Raises ValueError if it stands in quotes."""
    if value is not None and is_quoted(value.get_secret_value()):
        raise ValueError
    return value


def is_quoted(value: str) -> bool:
    """Returns whether the value stands in quotes."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def checked_store_url(value: SecretStr) -> SecretStr:
    """Returns the URL of an account store with its driver. Raises the error of a setting."""
    scheme, _, rest = value.get_secret_value().partition("://")
    scheme = _DRIVERS.get(scheme, scheme)
    # sqlite://accounts.db would name a host; one in memory would be another for each connection
    names_file = rest.startswith("/") and rest not in ("/", "/:memory:")
    if scheme not in _STORES or not rest or (scheme.startswith("sqlite") and not names_file):
        raise ValueError
    if scheme.startswith("postgresql"):
        _needs("postgres", "asyncpg")
    return SecretStr(f"{scheme}://{rest}")


def checked_cache_url(value: SecretStr | None) -> SecretStr | None:
    """Returns the URL of a shared cache. Raises the error of a setting."""
    parts = urlsplit(value.get_secret_value() if value else "redis://default")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError
    if value is not None:
        _needs("redis", "redis")
    return value


def noise_filter(value: str) -> str:
    """Returns the name of a noise filter. Raises the error of a setting if its package is not installed."""
    if value == "bvc":
        _needs("noise-cancellation", "livekit.plugins.noise_cancellation")
    return value


def _needs(extra: str, package: str) -> None:
    """Raises the error of a setting for which an extra must be installed. Imports nothing: the sessions do."""
    if find_spec(package) is None:
        raise PydanticCustomError(EXTRA, "{command}", {"command": install(extra)})


class _OwnParts(Protocol):
    """A subclass of `firstword.agent.parts.Parts`, which is not imported here."""

    def shipped(self) -> frozenset[str]: ...


def own_parts(value: str | None) -> str | None:
    """Returns the name of a class of parts. Raises the error of a setting, also where its module fails."""
    if value is not None:
        _own_parts(value)
    return value


def _own_parts(named: str) -> _OwnParts:
    """The class that is named. Raises the error of a setting, also where its module fails when it is imported."""
    try:
        found: object = pkgutil.resolve_name(named)
    except Exception as error:
        raise PydanticCustomError(WRONG, "{cause}", {"cause": f"{type(error).__name__}: {error}"}) from None
    if not isinstance(found, type) or not hasattr(found, "shipped"):
        what = "it is no subclass of firstword.agent.parts.Parts"
        raise PydanticCustomError(WRONG, "{cause}", {"cause": what})
    return cast("_OwnParts", found)


def needed_by(*parts: str) -> AfterValidator:
    """Returns the check of a key that must be set where one of these parts is the shipped one."""

    def check(value: SecretStr, info: ValidationInfo) -> SecretStr:
        named: str | None = info.data.get("parts")
        unknown = "parts" not in info.data  # it is wrong, which has been said
        if value.get_secret_value() or unknown or (named and _own_parts(named).shipped().isdisjoint(parts)):
            return value
        raise PydanticCustomError(MISSING, "missing")

    return AfterValidator(check)


def writable_folder(value: str | None) -> str | None:
    """Returns the folder. Raises ValueError unless it can be written to, or be made in one that can."""
    if value is not None and (is_quoted(value) or not can_be_written(Path(value).absolute())):
        raise ValueError
    return value


def _names(value: object) -> object:
    """The names in text with commas between them."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


def default_store() -> SecretStr:
    """Returns the URL of the store that ships: a file among the user's data."""
    return SecretStr(f"sqlite+aiosqlite:///{data_folder() / 'accounts.db'}")


LiveKitUrl = Annotated[str, _url("ws", "wss", "http", "https"), MayBe("a ws, wss, http or https URL")]
BaseUrl = Annotated[str, _url("http", "https", end="/v1"), MayBe("an http or https URL that ends in /v1")]
Key = Annotated[
    SecretStr, AfterValidator(_key), MayBe("a key of characters that can be seen, without blanks or quotes around it")
]
Name = Annotated[
    str, Field(pattern=r"^[\w.:/@-]{1,100}$"), MayBe("a name of letters, digits and `.:/@-_`, 100 at most")
]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), MayBe("seconds, more than 0")]
SecondsFromZero = Annotated[float, Field(ge=0, allow_inf_nan=False), MayBe("seconds, 0 or more")]


AccountSource = Literal["claim", "metadata", "attribute", "caller-id"]
"""Sources that may name an account: see `firstword.agent.accounts.identity`."""
SOURCE: Final = f"({'|'.join(get_args(AccountSource))})"
"""A pattern of one of them."""
