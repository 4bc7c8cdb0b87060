"""Reads the flag file, in the same way for the worker that follows it, for `tune` that changes it, and for `doctor`.

The format is flagd's (https://flagd.dev/reference/flag-definitions). Only our flags are looked at: a file may hold
those of other services too. A faulty flag says what is wrong, and does not affect the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from firstword.agent.flags import json_text, rule
from firstword.agent.flags.improvements import Subject
from firstword.agent.flags.json_text import JsonError, JsonText, Object, kind, shown
from firstword.agent.flags.rule import RuleError

_LIKE = 0.8
"""How like one of ours a name must be to be taken for a misspelt one; others are other services'."""


BY_HAND = "its rule was written by hand"
"""Reason why a flag has no share: its rule says for whom it is on."""


class FlagFileError(Exception):
    """Raised for a flag file that can't be used at all. The message says what was expected, and a possible cause."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a file that flagd can evaluate for every session: its definition and its share of sessions."""

    definition: Mapping[str, Any]
    """What flagd is given: `state`, `variants`, `defaultVariant`, `targeting`, with shared rules in place."""
    percent: int | None
    """Percent of the sessions that get the flag; None if it is not a plain share of all sessions."""
    no_share: str = ""
    """Why `percent` is None; else empty."""
    possible: bool = False
    """Whether the flag is on for some session or process."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The flag's `metadata` in the file. Workers do not use it."""


@dataclass(frozen=True, slots=True)
class FlagFile:
    """Our flags in a flag file: those that can be used, those that can't, and remarks."""

    flags: Mapping[str, Flag]
    """The flags that can be used, by name."""
    bad: Mapping[str, str]
    """The flags that can't be used, by name: what was expected, and a possible cause."""
    remarks: tuple[str, ...]
    """Warnings about what may be a mistake: a name that stands twice, or one that is close to the name of one of our
    flags.
    """
    source: JsonText
    """The file's text and JSON."""


def read(path: Path, subjects: Mapping[str, Subject]) -> FlagFile:
    """Reads the flag file at `path`; see `parse`. Raises FlagFileError, whose message names the path."""
    try:
        return parse(path.read_bytes(), subjects)
    except OSError as error:
        raise FlagFileError(f"{path}: expected a file that can be read; possible cause: {error.strerror}") from None
    except FlagFileError as error:
        raise FlagFileError(f"{path}: {error}") from None


def parse(content: bytes, subjects: Mapping[str, Subject]) -> FlagFile:
    """Parses the content of a flag file. Raises FlagFileError if it is not JSON, or has no object of flags.

    subjects: our flags, and whom each is drawn for. Other flags are ignored.
    """
    try:
        source = json_text.read(content)
    except JsonError as error:
        raise FlagFileError(str(error)) from None
    document = source.value
    if not isinstance(document, Object):
        raise FlagFileError(f"expected an object that has `flags`, found {kind(document)}")
    entries = document.get("flags")
    if not isinstance(entries, Object):
        found = kind(entries) if "flags" in document else "none"
        hint = "; possible cause: a list of flags, where flagd names each by its key" if found == "a list" else ""
        raise FlagFileError(f"expected an object at `flags`, found {found}{hint}")
    shared = document.get("$evaluators")
    flags: dict[str, Flag] = {}
    bad: dict[str, str] = {}
    for name, entry in entries.items():
        if name in subjects:
            try:
                flags[name] = _flag(entry, name, subjects[name], shared if isinstance(shared, Object) else {})
            except RuleError as error:
                bad[name] = str(error)
    return FlagFile(flags, bad, tuple(_remarks(document, entries, subjects)), source)


def _flag(entry: Any, name: str, subject: Subject, shared: Mapping[str, object]) -> Flag:
    match entry:
        case {"state": "ENABLED" | "DISABLED", "variants": {"on": True, "off": False, **others}} if not others:
            pass
        case {"state": "ENABLED" | "DISABLED"}:
            raise RuleError('expected "variants": {"on": true, "off": false}')
        case _:
            raise RuleError('expected an object with "state": "ENABLED" or "DISABLED"')
    default = entry.get("defaultVariant") or None
    if default not in ("on", "off", None):
        raise RuleError(f'expected "defaultVariant" on, off or null, found {shown(default)}')
    definition = {"state": entry["state"], "variants": dict(entry["variants"]), "defaultVariant": default}
    targeting = rule.resolved(entry.get("targeting") or None, shared)
    if targeting is not None:
        rule.check(targeting, name, subject, default)
        definition["targeting"] = targeting
    percent, no_share = _share(definition, name, subject)
    metadata = entry.get("metadata")
    enabled = entry["state"] == "ENABLED"
    return Flag(
        definition=definition,
        percent=percent,
        no_share=no_share,
        possible=enabled and (rule.may_be_on(targeting) or default == "on"),
        metadata=metadata if isinstance(metadata, Object) else {},
    )


def _share(definition: Mapping[str, Any], name: str, subject: Subject) -> tuple[int | None, str]:
    if definition["state"] == "DISABLED":
        return None, "it is DISABLED"
    targeting = definition.get("targeting")
    if targeting is None:
        return (100 if definition["defaultVariant"] == "on" else 0), ""
    percent = rule.share(targeting, name, subject)
    if percent is not None:
        return percent, ""
    if rule.by_account(targeting, name, subject):
        who = "sessions without an account" if subject == "session" else "processes"
        return None, f"{who} cannot draw its share, and get {definition['defaultVariant'] or 'off'}"
    return None, BY_HAND


def _remarks(document: Object, entries: Object, subjects: Mapping[str, Subject]) -> list[str]:
    twice = [f"`{name}`" for name in document.repeated if name in ("flags", "$evaluators")]
    twice += [name for name in entries.repeated if name in subjects]
    for name, entry in entries.items():
        if name in subjects and isinstance(entry, Object):
            twice += [f"`{key}` of {name}" for key in entry.repeated]
    found = [f"{what} stands twice, and the last one counts" for what in twice]
    for name in sorted(entries.keys() - subjects.keys()):
        if near := get_close_matches(name, subjects, n=1, cutoff=_LIKE):
            found.append(f"no flag is named {name}; nearest is {near[0]}")
    return found
