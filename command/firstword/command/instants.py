"""Reads when `--since` and `--until` are, as people write it: `90s`, `1.5h`, `1w` ago, `14:00`, `yesterday`, a date and
a time.

Used by `firstword.command.source_options`.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

FORMS = "90s, 30m, 1.5h, 7d or 1w ago; 14:00, today, yesterday, 2026-11-23 or 2026-11-23T10:00"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhdw])(?:\s+ago)?")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")


def instant_ns(text: str, now: datetime) -> int:
    """Returns the instant that a text means, in ns since the Unix epoch; a text without a zone is in that of `now`.

    A clock's time is the last one: of today, or of yesterday where today's is still to come. Raises ValueError.
    """
    try:
        return int(_instant(text.strip().lower(), now).timestamp()) * 1_000_000_000
    except OverflowError:
        raise ValueError(text) from None


def _instant(text: str, now: datetime) -> datetime:
    midnight = datetime.combine(now.date(), time(), now.tzinfo)
    if text in ("now", "today", "yesterday"):
        return {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}[text]
    if ago := _AGO.fullmatch(text):
        return now - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
    if _CLOCK.fullmatch(text):
        at = datetime.combine(now.date(), time.fromisoformat(text.zfill(5)), now.tzinfo)
        return at if at <= now else at - timedelta(days=1)
    when = datetime.fromisoformat(text.upper())
    return when if when.tzinfo else when.replace(tzinfo=now.tzinfo)
