"""The latency model: how slow the simulated providers are, how often they fail, and what they refuse; read from one TOML file.

Above the simulators, which draw from it; `default.toml` beside this file explains every entry.
"""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, cast

DEFAULT = Path(__file__).with_name("default.toml")


class Body(StrEnum):
    """What the simulated text-to-speech answers to a POST, always with HTTP 200."""

    AUDIO = "audio"
    JSON = "json"
    """An error as JSON, as a proxy or a provider in trouble sends it."""
    HTML = "html"
    """A page of a proxy's."""
    HEADER = "header"
    """The header of a WAV file, and no sound."""
    SHORT = "short"
    """A tenth of the sound, and a proper end."""


class LatencyError(ValueError):
    """Raised for a latency file that can't be used; the message names the file, the key, what it was and what it may be."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A lognormal distribution of times: median * exp(sigma * z), z standard normal."""

    median_ms: float
    sigma: float

    def draw(self, stream: random.Random) -> float:
        """Draws the stream's next time, in seconds. One draw takes one value from the stream, also with sigma 0."""
        return self.median_ms / 1e3 * math.exp(self.sigma * stream.normalvariate())


@dataclass(frozen=True, slots=True)
class RequestFault:
    """The fault of one request, mostly none: refused, cut in the middle of the answer, or delayed."""

    refused: bool
    cut: bool
    delay: float
    """Additional seconds until the answer begins."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How a provider fails: probabilities from 0 to 1, and how much later a slow answer comes."""

    refuse: float
    cut: float
    slow: float
    slow_ms: float

    def draw(self, stream: random.Random) -> RequestFault:
        """Draws the stream's next fault. One draw takes three values from the stream, also when nothing can fail."""
        refuse, cut, slow = stream.random(), stream.random(), stream.random()
        return RequestFault(
            refused=refuse < self.refuse, cut=cut < self.cut, delay=self.slow_ms / 1e3 if slow < self.slow else 0.0
        )


@dataclass(frozen=True, slots=True)
class LLM:
    """Latencies of the language model: from request to first token, then for each further token."""

    first_token: Distribution
    token: Distribution
    faults: Faults


@dataclass(frozen=True, slots=True)
class TTS:
    """Latencies of text-to-speech: from a complete sentence to its first audio."""

    first_byte: Distribution
    faults: Faults
    body: Body
    refused: Sequence[str]
    """Voices that are refused, as if there were none of that name."""


@dataclass(frozen=True, slots=True)
class STT:
    """Latencies of speech-to-text: the WebSocket's handshake, and the silence that ends an utterance."""

    connect: Distribution
    silence: Distribution
    faults: Faults
    refused: Sequence[str]
    """Languages that are refused, as if the model did not know them."""


@dataclass(frozen=True, slots=True)
class Store:
    """Latencies of the account store, for each statement that reads or writes rows."""

    read: Distribution
    write: Distribution
    faults: Faults


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies and faults of all simulated providers and of the store."""

    seed: int
    connection: Distribution
    llm: LLM
    tts: TTS
    stt: STT
    store: Store

    @classmethod
    def load(cls, path: str | Path | None = None) -> Self:
        """Reads the model from a file, over the defaults; without a file, the defaults alone. Raises LatencyError."""
        table = _read(DEFAULT)
        if path is not None:
            table = _merge(table, _read(Path(path)), file=Path(path), at="")
        return cls(
            seed=table["seed"],
            connection=Distribution(**table["connection"]),
            llm=LLM(**_entries(table["llm"])),
            tts=TTS(**_entries(table["tts"])),
            stt=STT(**_entries(table["stt"])),
            store=Store(**_entries(table["store"])),
        )

    def stream(self, name: str) -> random.Random:
        """Returns random numbers for one user: seed and name decide them, and other users' draws don't."""
        return random.Random(f"{self.seed}/{name}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LatencyError(
            f"{path}: can't be read ({error.strerror}); expected a TOML file like {DEFAULT.name}"
        ) from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise LatencyError(f"{path}: is not TOML ({error}); expected a file like {DEFAULT.name}") from None


def _merge(default: dict[str, Any], given: dict[str, Any], *, file: Path, at: str) -> dict[str, Any]:
    """The default's table with what is given put over it; the default says which keys there are and what kind each is."""
    merged = dict(default)
    for key, value in given.items():
        where = f"{file}: {at}{key}"
        if key not in default:
            raise LatencyError(f"{where}: is unknown; expected one of {', '.join(default)}")
        if isinstance(default[key], dict):
            if not isinstance(value, dict):
                raise LatencyError(f"{where}: was {value!r}; expected a table of {', '.join(default[key])}")
            merged[key] = _merge(default[key], cast(dict[str, Any], value), file=file, at=f"{at}{key}.")
        elif not _allowed(key, value):
            raise LatencyError(f"{where}: was {value!r}; expected {_range(key)}")
        else:
            merged[key] = value
    return merged


def _allowed(key: str, value: object) -> bool:
    if key == "body":
        return value in tuple(Body)
    if key == "refused":
        return isinstance(value, list) and all(isinstance(each, str) for each in cast(list[object], value))
    if isinstance(value, bool) or not isinstance(value, int if key == "seed" else (int, float)):
        return False
    return 0 <= value <= _highest(key) and math.isfinite(value)


def _range(key: str) -> str:
    if key == "body":
        return f"one of {', '.join(Body)}"
    if key == "refused":
        return "a list of names"
    if key == "seed":
        return "a whole number of at least 0"
    return "a number from 0 to 1" if _highest(key) == 1 else "a number of at least 0"


def _highest(key: str) -> float:
    return 1 if key in ("refuse", "cut", "slow") else math.inf


def _entries(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _entry(key, value) for key, value in table.items()}


def _entry(key: str, value: Any) -> Any:
    match key:
        case "faults":
            return Faults(**value)
        case "body":
            return Body(value)
        case "refused":
            return tuple(value)
        case _:
            return Distribution(**value)
