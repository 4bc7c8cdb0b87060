"""Words that a stranger fills in and that must be found nowhere, however they are spelled."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus


def spellings(word: str) -> set[bytes]:
    """The word as bytes in each encoding in which it may have been written: plain, percent, JSON, base64 at any offset, UTF-16."""
    plain = word.encode()
    shifted = [base64.b64encode(bytes(offset) + plain) for offset in range(3)]
    # the first and last characters of base64 hold bits of what stands beside it
    inner = {text[4 : len(text) - len(text) % 4 - 4] for text in shifted}
    percent = {
        quote(word, safe="").encode(),
        quote_plus(word).encode(),
        "".join(f"%{byte:02X}" for byte in plain).encode(),
    }
    escaped = {json.dumps(word)[1:-1].encode(), "".join(f"\\u{ord(character):04x}" for character in word).encode()}
    wide = {word.encode(encoding) for encoding in ("utf-16-le", "utf-16-be")}
    return {plain, plain.upper(), plain.lower(), plain.hex().encode(), *inner, *percent, *escaped, *wide}


def found(words: dict[str, str], content: bytes) -> set[str]:
    """Names of those words that the content holds in any spelling."""
    return {name for name, word in words.items() if any(spelling in content for spelling in spellings(word))}
