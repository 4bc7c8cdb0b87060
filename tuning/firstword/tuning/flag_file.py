"""The file by which workers know their flags, read and changed: how many sessions in a hundred get a flag, and why.

The last station of the way back: `firstword.tuning.rollout` decides, this writes, flagd's resolver in every worker follows.
The format is flagd's (https://flagd.dev/reference/flag-definitions): a share is the `fractional` operation over `on` and
`off`, and what `tune` has to remember lies in the flag's own `metadata`, so that share and reason change in one rename.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias, cast

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
_PERCENT, _SINCE, _REASON, _TURNED_BACK = "tune.percent", "tune.since", "tune.reason", "tune.turned_back"


class FlagFileError(Exception):
    """The flag file can't be read, is not flagd's format, or can't be written; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One flag as the file has it."""

    flag: str
    percent: int
    """Of the sessions that get `on`."""
    since: float = 0.0
    """When it last moved, seconds since the Unix epoch."""
    turned_back: str | None = None
    """Why it was turned back; None where it was not."""
    by_process: bool = False
    """Drawn when a process starts (the flag's metadata says so): idle ones keep the share of before for a while."""
    by_hand: bool = False
    """It is not a plain share of `on` and `off`: somebody wrote a rule, which is theirs to change."""


@dataclass(frozen=True, slots=True)
class FlagFile:
    """A flag file, whole."""

    path: Path
    document: dict[str, Json]
    rollouts: tuple[Rollout, ...]
    """In the order of the file."""


def read(path: Path) -> FlagFile:
    """The flag file at `path`. Raises FlagFileError."""
    try:
        document: object = json.loads(path.read_bytes())
        changed = path.stat().st_mtime
    except OSError as error:
        raise FlagFileError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise FlagFileError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise FlagFileError(f"{path} is not a flag file; expected an object with `flags`")
    whole = cast("dict[str, Json]", document)
    flags = whole.get("flags", {})
    if not isinstance(flags, dict):
        raise FlagFileError(f"{path}: `flags` is not an object")
    return FlagFile(path, whole, tuple(_rollout(path, name, flag, changed) for name, flag in flags.items()))


def begin(path: Path, shipped: Path) -> FlagFile:
    """Make a file at `path` for a rollout that begins: the flags of `shipped`, all off. Raises FlagFileError."""
    document = copy.deepcopy(read(shipped).document)
    flags = document["flags"]
    assert isinstance(flags, dict)  # noqa: S101 # read() saw to it
    for entry in flags.values():
        assert isinstance(entry, dict)  # noqa: S101
        entry["defaultVariant"] = "off"
    try:
        with path.open("x") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
            file.write("\n")
    except OSError as error:
        raise FlagFileError(f"{path} can't be written: {error.strerror}") from error
    return read(path)


def write(file: FlagFile, flag: str, percent: int, reason: str, now: float, *, turned_back: bool) -> FlagFile:
    """Give `flag` to `percent` sessions in a hundred and say why; the file as it was is kept as `NAME.previous`.

    Both files are replaced whole (written beside, synced, renamed), so that no reader sees half of one. Raises FlagFileError.
    """
    if read(file.path).document != file.document:
        raise FlagFileError(f"{file.path} was changed meanwhile")
    document = copy.deepcopy(file.document)
    flags = document["flags"]
    assert isinstance(flags, dict)  # noqa: S101 # read() saw to it
    entry = flags[flag]
    assert isinstance(entry, dict)  # noqa: S101
    entry["defaultVariant"] = "on" if percent == 100 else "off"
    entry["targeting"] = {"fractional": [*_bucketing(entry), ["on", percent], ["off", 100 - percent]]}
    metadata = entry.get("metadata")
    kept = {k: v for k, v in metadata.items() if k != _TURNED_BACK} if isinstance(metadata, dict) else {}
    moved = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    entry["metadata"] = {**kept, _PERCENT: percent, _SINCE: moved, _REASON: reason}
    if turned_back:
        entry["metadata"][_TURNED_BACK] = True
    try:
        _replace(file.path.with_name(file.path.name + ".previous"), file.path.read_bytes())
        _replace(file.path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise FlagFileError(f"{file.path} can't be written: {error.strerror}") from error
    return read(file.path)


def definition(percent: int = 0) -> dict[str, Json]:
    """A flag of two variants, on for `percent` sessions in a hundred."""
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "on" if percent == 100 else "off",
        "targeting": {"fractional": [["on", percent], ["off", 100 - percent]]},
    }


def _rollout(path: Path, name: str, flag: Json, changed: float) -> Rollout:
    if not isinstance(flag, dict) or not isinstance(flag.get("variants"), dict):
        raise FlagFileError(f"{path}: flag {name} has no `variants`")
    percent = _percent(flag)
    if percent is None:
        return Rollout(name, 0, by_hand=True)
    told = flag.get("metadata")
    metadata = told if isinstance(told, dict) else {}
    by_process = metadata.get("drawn") == "process"
    if metadata.get(_PERCENT) != percent:  # somebody moved it since: all that is known is when the file was written
        return Rollout(name, percent, changed if metadata or percent else 0.0, by_process=by_process)
    reason = str(metadata.get(_REASON, "")) if metadata.get(_TURNED_BACK) is True else None
    try:
        since = datetime.fromisoformat(str(metadata.get(_SINCE))).timestamp()
    except ValueError:
        since = changed
    return Rollout(name, percent, since, reason, by_process)


def _percent(flag: dict[str, Json]) -> int | None:
    """The share of `on`, in whole percent, 0 and 100 only where it is that; None where it is no plain share."""
    variants, targeting = flag["variants"], flag.get("targeting")
    if flag.get("state", "ENABLED") != "ENABLED" or not isinstance(variants, dict) or set(variants) != {"on", "off"}:
        return None
    if not targeting:
        return 100 if flag.get("defaultVariant") == "on" else 0
    rule = targeting.get("fractional") if isinstance(targeting, dict) and len(targeting) == 1 else None
    shares: dict[str, int] = {}
    for part in rule[-2:] if isinstance(rule, list) and len(rule) in (2, 3) else ():
        match part:
            case [str() as variant, int() as weight] if weight >= 0:
                shares[variant] = weight
            case _:
                return None
    if set(shares) != {"on", "off"} or not sum(shares.values()):
        return None
    on, off = shares["on"], shares["off"]
    return min(max(round(100 * on / (on + off)), 1 if on else 0), 99 if off else 100)


def _bucketing(flag: dict[str, Json]) -> list[Json]:
    """By what sessions are bucketed, where the rule says it; flagd's own way (flag and targeting key) otherwise."""
    targeting = flag.get("targeting")
    rule = targeting.get("fractional") if isinstance(targeting, dict) else None
    return rule[:-2] if isinstance(rule, list) else []


def _sync(folder: Path) -> None:
    """Write the folder's names to the disk: without it a power cut may bring the old file back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(beside).chmod(mode)  # mkstemp's is for its owner alone; a worker may be another user
        Path(beside).replace(path)
        _sync(path.parent)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
