"""Removes what is private from the log: names, numbers, texts and keys, in a line's fields, its message and its
traceback.

A filter on the handlers of the root logger, in the worker's process and in those of its jobs. LiveKit's lines go
through it as ours do. docs/privacy.md has what is in a log.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from firstword.telemetry.redaction import is_private, without_url_secrets

FIELDS: Final = frozenset(
    [
        "agent_name",
        "attempt",
        "attempts",
        "close_reason",
        "disconnect_reason",
        "dropped",
        "error_type",
        "event_type",
        "exception_type",
        "executor",
        "function",
        "functions",
        "helper",
        "impl_id",
        "job_id",
        "job_ids",
        "kind",
        "label",
        "language",
        "level",
        "model",
        "outcome",
        "output_type",
        "packages",
        "pid",
        "provider",
        "reason",
        "region",
        "request_id",
        "role",
        "room_id",
        "room_sid",
        "runner",
        "session_id",
        "signal",
        "source",
        "span_id",
        "speech_id",
        "state",
        "status",
        "streamed",
        "stt",
        "task",
        "thread_name",
        "tool_name",
        "trace_id",
        "track_id",
        "track_sid",
        "trace_flags",
        "tts",
        "type",
        "version",
        "worker_id",
    ]
)
"""Fields of a record that are kept: words of the code's, or ids that LiveKit or a provider gives. Any other text field
is removed.
"""
HIDDEN: Final = "[hidden]"
_SHORTEST: Final = 4
"""Characters of a text that is hidden wherever it stands: a shorter one is part of too many words."""
_NOBODYS: Final = frozenset({"caller", "participant", "user", "guest", "agent", "assistant"})
"""Identities that say nothing of anybody, and are words of our own lines."""
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_PRIVATE: Final = re.compile(
    r"eyJ[\w-]+\.[\w-]+\.[\w-]*"  # JSON web tokens
    r"|(?i:bearer)\s+[\w.~+/-]+=*"
    r"|\bsk-[\w-]{16,}|\bAPI[A-Za-z0-9]{12,}\b"  # keys of OpenAI and LiveKit
    r"|[\w.%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # mail
    r"|\+\d[\d ().-]{6,}\d|(?<![0-9A-Za-z.])\d{8,15}(?![0-9A-Za-z.])"  # telephone numbers
)


class LogRedaction(logging.Filter):
    """A logging filter that removes what is private from each record, in place, and lets every record pass."""

    def __init__(self) -> None:
        super().__init__()
        self._hidden = re.compile(r"(?!)")
        self._texts = set[str]()
        self._formatter = logging.Formatter()

    def hide(self, *texts: str | None) -> None:
        """Hides these texts, wherever they stand in a log line, from now on: what this process knows of the people of
        its call.

        Texts of fewer than four characters are not hidden, nor words such as `caller`.
        """
        self._texts.update(text for text in texts if text and len(text) >= _SHORTEST and text not in _NOBODYS)
        if self._texts:
            longest_first = sorted(self._texts, key=len, reverse=True)
            self._hidden = re.compile("|".join(map(re.escape, longest_first)))

    def filter(self, record: logging.LogRecord) -> bool:
        """Removes what is private from the record's fields, message and traceback. Always returns True."""
        for name, value in list(vars(record).items()):
            if name in _STANDARD or value is None or isinstance(value, (bool, int, float)):
                continue
            if name not in FIELDS or is_private(name):
                delattr(record, name)
            else:
                setattr(record, name, self._clean(str(value)))
        record.msg, record.args = self._clean(_message(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text, record.exc_info = self._clean(record.exc_text), None
        return True

    def _clean(self, text: str) -> str:
        return _PRIVATE.sub(HIDDEN, self._hidden.sub(HIDDEN, without_url_secrets(text)))


REDACTION: Final = LogRedaction()
"""The filter of this process."""


def install() -> None:
    """Adds the filter `REDACTION` to the handlers that the root logger has now. A second call does nothing."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(REDACTION)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit: logging itself would print them to the standard error
        return str(record.msg)
