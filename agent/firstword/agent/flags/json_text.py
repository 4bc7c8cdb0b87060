"""Parses JSON that people write: finds repeated names, replaces values in the text, and explains faults in plain words.

Below `firstword.agent.flags.flag_file`, which knows what the JSON is about.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_BOM = "\ufeff"
_BLANKS = re.compile(r"[ \t\r\n]*")


class JsonError(ValueError):
    """Raised for a text that is not JSON. The message says what was expected, where, and a possible cause."""


class Object(dict[str, Any]):
    """A JSON object that knows which of its names stand more than once. The last value of a name counts."""

    repeated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON text and its parsed value. Each object in the value is an `Object`."""

    content: bytes
    """The bytes as they were read, in UTF-8."""
    text: str
    """The text without a byte order mark."""
    value: Any

    def replaced(self, path: tuple[str, ...], value: object) -> bytes:
        """Returns the bytes with another value at `path`, indented by two blanks a level. Raises KeyError if there is
        no such path.
        """
        start, end = _place(self.text, path)
        new = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + "  " * len(path))
        return self._encoded(self.text[:start] + new + self.text[end:])

    def added(self, path: tuple[str, ...], name: str, value: object) -> bytes:
        """Returns the bytes with one more name, the first one, in the object at `path`. Raises KeyError if there is no
        such path.
        """
        start, end = _place(self.text, path)
        level = "\n" + "  " * (len(path) + 1)
        new = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", level)
        comma = "" if self.text[start + 1 : end - 1].strip() == "" else ","
        return self._encoded(f"{self.text[: start + 1]}{level}{json.dumps(name)}: {new}{comma}{self.text[start + 1 :]}")

    def _encoded(self, text: str) -> bytes:
        """The bytes of a changed text, with the byte order mark that there was."""
        mark = self.content[: len(self.content) - len(self.text.encode())]
        return mark + text.encode(errors="backslashreplace")  # a lone surrogate, whose escape is JSON's too


def read(content: bytes) -> JsonText:
    """Parses JSON in UTF-8, with a byte order mark or without. Raises JsonError."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        wide = b"\0" in content[:4] or content[:2] in (b"\xff\xfe", b"\xfe\xff")
        cause = "an editor saved it as UTF-16" if wide else "it is no text, or in an older encoding"
        raise JsonError(f"expected text in UTF-8; possible cause: {cause}") from None
    text = text.removeprefix(_BOM)
    try:
        return JsonText(content, text, json.loads(text, object_pairs_hook=_object))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise JsonError(f"expected JSON at {where}; possible cause: {_cause(text, error)}") from None
    except RecursionError:
        raise JsonError("expected JSON of some depth; possible cause: brackets in brackets without end") from None
    except ValueError:  # int() refuses numbers of more than 4,300 digits
        raise JsonError("expected JSON; possible cause: a number with thousands of digits") from None


def kind(value: object) -> str:
    """Returns in words what a JSON value is, such as "a list"."""
    if isinstance(value, bool):
        return str(value).lower()
    words = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return next((word for each, word in words.items() if isinstance(value, each)), "null")


def shown(value: object) -> str:
    """Returns a JSON value as a file has it, cut to sixty characters, for a message."""
    return json.dumps(value, ensure_ascii=False, default=repr)[:60]


def _object(pairs: list[tuple[str, Any]]) -> Object:
    made = Object(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        made.repeated = tuple(name for name in made if names.count(name) > 1)
    return made


def _cause(text: str, error: json.JSONDecodeError) -> str:
    before, after = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    if not text.strip():
        return "the file is empty"
    if after.startswith(("//", "/*", "#")):
        return "a comment, which JSON does not have"
    if not after or error.msg.startswith("Unterminated string"):
        return "the file is cut short"
    # of two values with a comma between, Python points at the comma or at what follows it
    if re.match(r",?\s*[}\]]", after) and (before.endswith(",") or after.startswith(",")):
        return "a comma before a closing bracket"
    if after.startswith("'"):
        return "single quotes, which JSON does not have"
    if not text.lstrip().startswith(("{", "[")):
        return "the file is YAML, or another format"
    return "a comma, colon, quote or bracket is missing or too many"


def _place(text: str, path: tuple[str, ...]) -> tuple[int, int]:
    """Where the value at `path` begins and ends in a text that is JSON. Raises KeyError."""
    decode = json.JSONDecoder().raw_decode
    start, end = _over_blanks(text, 0), len(text)
    for wanted in path:
        found: tuple[int, int] | None = None
        at = _over_blanks(text, start + 1)
        while text[at] != "}":
            name, at = decode(text, at)
            begins = _over_blanks(text, _over_blanks(text, at) + 1)
            _, ends = decode(text, begins)
            if name == wanted:
                found = (begins, ends)
            at = _over_blanks(text, ends)
            if text[at] == ",":
                at = _over_blanks(text, at + 1)
        if found is None:
            raise KeyError(wanted)
        start, end = found
    return start, end


def _over_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at
