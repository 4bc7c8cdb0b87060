"""Finds the words in an answer that tells of an error: Jaeger's, those of gRPC's gateway in front of it, Tempo's.

Used by the readers of documents and of servers.
"""

from __future__ import annotations

import json
from typing import cast

_KEYS = ("errors", "error", "message", "msg")
_DEPTH = 3


def words_in(text: str) -> str:
    """Returns the server's error message in a JSON text; empty where the text isn't JSON, or tells of no error."""
    try:
        return words_of_error(json.loads(text))
    except (ValueError, RecursionError):
        return ""


def words_of_error(document: object) -> str:
    """Returns the server's error message in a parsed JSON answer; empty where it tells of no error."""
    return "; ".join(_words(cast("object", document), _DEPTH)) if isinstance(document, dict) else ""


def _words(document: object, depth: int) -> list[str]:
    if isinstance(document, str):
        return [document]
    if isinstance(document, list) and depth:
        return [says for item in cast("list[object]", document) for says in _words(item, depth - 1)]
    if isinstance(document, dict) and depth:
        content = cast("dict[str, object]", document)
        for key in _KEYS:
            if content.get(key):
                return _words(content[key], depth - 1)
    return []
