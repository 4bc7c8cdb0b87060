"""Splits UTF-8 bytes into JSON documents, each with its line: JSON lines, one document, or many, each over any number
of lines.

Between `firstword.tuning.plain_file` and `firstword.tuning.documents`, which knows what a document is. Lines are
streamed; a document over several lines is read with what follows it, up to `MOST_BYTES`.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any

from firstword.tuning.tally import EXPECTED, Tally

MOST_BYTES = 256 * 2**20
"""Size of the largest document that is read, on one line or over several."""
_MOST_TRIES = 3
"""How often a line that is no document is tried in vain with all that follows it: each try reads up to MOST_BYTES."""
_MOST_DIGITS = 4000
"""Of an integer. Python refuses to read one of more than 4300, and all that stands around it."""
_BETWEEN = re.compile(r"[\s\x1e\ufeff]*")
"""What may stand between documents: `jq --seq` writes a record separator, joined files have a byte order mark."""
_AROUND = b" \t\r\n\x1e"
_LOG_LINE = re.compile(rb'[^{\[<]{1,300}[{\[]\s*["{]')


def documents(file: IO[bytes], tally: Tally, trace_id: str | None = None) -> Iterator[Any]:
    """Yields the JSON documents in a seekable file. Tells `tally` the line of each, and what isn't JSON.

    trace_id: only documents with this trace are wanted; lines without it are passed over.
    """
    wanted = None if trace_id is None else _mentions(trace_id)
    number, tries = 0, _MOST_TRIES
    while line := file.readline(MOST_BYTES + 1):
        number += 1
        after = file.tell() if _is_whole(line) else _end_of_line(file)
        stripped = line.strip(_AROUND)
        if _is_whole(line) and (not stripped or _is_not(wanted, stripped)):
            continue
        try:
            found = _on_line(stripped if _is_whole(line) else line)
        except (ValueError, RecursionError) as error:
            last = None
            if tries and stripped[:1] in b"{[" and _is_whole(line):
                file.seek(after - len(line))
                last = yield from _over_lines(file, number, tally)
            if last is None:
                tries -= 1
                file.seek(after)
                tally.line = number
                tally.loss(*_not_json(error, stripped))
            else:
                number = last - 1  # what is left of that line comes next
        else:
            for document in found:
                tally.document(number)
                yield document


def _is_not(wanted: Callable[[bytes], bool] | None, stripped: bytes) -> bool:
    """Whether it is a whole document in which what is wanted is not."""
    return wanted is not None and stripped[-1:] in b"}]" and not wanted(stripped)


def _is_whole(line: bytes) -> bool:
    return len(line) <= MOST_BYTES


def _end_of_line(file: IO[bytes]) -> int:
    """Where the line ends of which only the beginning was read."""
    while (part := file.readline(MOST_BYTES)) and not part.endswith(b"\n"):
        pass
    return file.tell()


def _on_line(stripped: bytes) -> list[Any]:
    """The documents on one line. Raises ValueError, RecursionError."""
    if len(stripped) > MOST_BYTES:
        raise ValueError(_too_long())
    try:
        return [json.loads(stripped)]
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    except UnicodeDecodeError:
        raise
    except ValueError:
        pass  # an integer of too many digits
    text, place, found = stripped.decode("utf-8", "surrogatepass"), 0, list[Any]()
    while (place := _next(text, place)) < len(text):
        document, place = _DECODER.raw_decode(text, place)
        found.append(document)
    return found


def _over_lines(file: IO[bytes], number: int, tally: Tally) -> Generator[Any, None, int | None]:
    """The documents from here on, where line `number` begins, however many lines each takes.

    Returns the line on which the last one ended, and leaves the file after it; None where there is none.
    """
    begin = file.tell()
    content = file.read(MOST_BYTES + 1)
    try:
        text = content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        # to where it is text: the cut may lie within a character
        text = content[: error.start].decode("utf-8", "surrogatepass")
    end, ended_on, line, place = 0, number, number, 0
    while (place := _next(text, end)) < len(text):
        line += text.count("\n", end, place)
        try:
            document, after = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            if not end and len(content) > MOST_BYTES:
                tally.broken_as_one(number, _too_long())
            elif not end and isinstance(error, json.JSONDecodeError) and error.lineno > 1:
                # one document, cut: its lines one by one would say nothing
                tally.broken_as_one(number + error.lineno - 1, _why(error))
            break
        tally.document(line)
        yield document
        line += text.count("\n", place, after)
        end, ended_on = after, line
    file.seek(begin + len(text[:end].encode("utf-8", "surrogatepass")))
    return ended_on if end else None


def _next(text: str, place: int) -> int:
    """Where the next document begins, or the text ends."""
    between = _BETWEEN.match(text, place)
    return between.end() if between else place


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


_DECODER = json.JSONDecoder(parse_int=_integer)


def _not_json(error: ValueError | RecursionError, stripped: bytes) -> tuple[str, str]:
    """What was found in place of JSON, and what was expected."""
    if stripped[:1] == b"<":
        return "a page of HTML or XML", f"{EXPECTED}; possible cause: a login page in front of the server"
    if _LOG_LINE.match(stripped):
        return "JSON after the beginning of a log line", "the JSON alone; to cut what is before it: sed 's/^[^{]*//'"
    return _why(error), EXPECTED


def _why(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON, {error.msg.lower().removesuffix(' at')} at column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "not JSON, it is not text"
    return "not JSON, nested too deeply" if isinstance(error, RecursionError) else f"not JSON, {error}"


def _too_long() -> str:
    return f"a document of more than {MOST_BYTES // 2**20} MB"


def _mentions(trace_id: str) -> Callable[[bytes], bool]:
    """Whether a line may have a span of the trace: its id in hex, in base64, or the low 64 bits of either."""
    low = trace_id[-16:].lstrip("0").encode()
    whole, half = (b64encode(bytes.fromhex(digits)).rstrip(b"=") for digits in (trace_id, trace_id[-16:]))
    if not low:
        return lambda _: True
    # what is the same in both alphabets of base64
    in_base64 = [re.split(rb"[+/]", form) for form in (whole, half)]
    return lambda line: low in line.lower() or any(all(part in line for part in parts) for parts in in_base64)
