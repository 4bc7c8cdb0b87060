"""The flag file, read in one way by the worker that follows it, by `tune` that moves it, and by `doctor`.

The format is flagd's (https://flagd.dev/reference/flag-definitions). Only our flags are looked at: a file may hold those
of other services too. A flag that can't be taken says why, and costs the other flags nothing.
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
"""Why a flag is no share where somebody says for whom it is on."""


class FlagFileError(Exception):
    """A flag file that can't be taken as a whole; the message says what was expected, and a possible cause."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag that flagd can evaluate for every session."""

    definition: Mapping[str, Any]
    """What flagd is given: `state`, `variants`, `defaultVariant`, `targeting`, with shared rules in place."""
    percent: int | None
    """The sessions in a hundred that get it; None where it is not a plain share of all sessions."""
    no_share: str = ""
    """Why it is none."""
    possible: bool = False
    """It is on for somebody."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the file says about it; nothing of it reaches a worker."""


@dataclass(frozen=True, slots=True)
class FlagFile:
    """What a file says of our flags, in its order."""

    flags: Mapping[str, Flag]
    """Those that can be taken."""
    bad: Mapping[str, str]
    """Those that can't: what was expected, and a possible cause."""
    remarks: tuple[str, ...]
    """What may not be meant as it is taken: a name that stands twice, or is one letter off one of ours."""
    source: JsonText
    """As it was read."""


def read(path: Path, subjects: Mapping[str, Subject]) -> FlagFile:
    """The flag file at `path`; see `parse`. Raises FlagFileError, which names the path."""
    try:
        return parse(path.read_bytes(), subjects)
    except OSError as error:
        raise FlagFileError(f"{path}: expected a file that can be read; possible cause: {error.strerror}") from None
    except FlagFileError as error:
        raise FlagFileError(f"{path}: {error}") from None


def parse(content: bytes, subjects: Mapping[str, Subject]) -> FlagFile:
    """Read a flag file. Raises FlagFileError where it is no JSON, or has no object of flags.

    subjects: our flags, and whom each is drawn for; other flags are passed over.
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
