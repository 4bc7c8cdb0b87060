"""Reads a job's metadata as JSON. Whoever asks for an agent chooses it, through LiveKit's token endpoint even a browser.

Pure. `firstword.agent.accounts.identity` looks in it for an account, `firstword.agent.interruption` for a sign.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

MAX_METADATA: Final = 16_384
"""Most characters of job metadata that are parsed."""


def parsed(metadata: str) -> object:
    """Returns the JSON value that the metadata is. Raises ValueError if it is none, and nothing else."""
    try:
        return json.loads(metadata.lstrip("\ufeff"))
    except RecursionError as error:  # thousands of nested brackets
        raise ValueError("expected JSON that is not nested so deep") from error


def json_object(metadata: str) -> dict[str, Any] | None:
    """Returns the JSON object that the metadata is, an empty one for empty metadata, or None if it is anything else. Never
    raises.
    """
    if not metadata.strip():
        return {}
    if len(metadata) > MAX_METADATA:
        return None
    try:
        said = parsed(metadata)
    except ValueError:
        return None
    return cast("dict[str, Any]", said) if isinstance(said, dict) else None
