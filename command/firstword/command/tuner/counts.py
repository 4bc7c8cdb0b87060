"""How many starts the workers themselves counted, by Prometheus: a second witness beside the source of traces.

Beside `firstword.command.tuner.evidence`. Traces that were forged, capped or lost on the way show as another number.
"""

from __future__ import annotations

import json
from typing import Any, cast

from firstword.tuning.http_get import HttpError, QueryServer

_QUERY = 'sum(increase(startup_starts_total{startup_outcome!="no_caller"}[%ds]))'


class NoCounts(Exception):
    """Raised where Prometheus can't say how many starts there were. The message says why."""


class WorkerCounts:
    """The counter `startup.starts` of all workers, in one Prometheus."""

    def __init__(self, url: str) -> None:
        """url: `http://HOST:PORT`; raises ValueError."""
        self._server = QueryServer(url)

    def starts(self, begin: float, end: float) -> float:
        """Returns how many starts with a caller ended in a stretch of time, in seconds since the Unix epoch. Raises
        NoCounts.
        """
        asked = {"query": _QUERY % max(int(end - begin), 1), "time": f"{end:.3f}"}
        try:
            answer = cast("dict[str, Any]", json.loads(self._server.get("/api/v1/query", asked) or b"{}"))
            return sum(float(each["value"][1]) for each in answer["data"]["result"])
        except HttpError as error:
            raise NoCounts(f"Prometheus at {self._server.url}: {error}") from None
        except (ValueError, KeyError, TypeError, IndexError):
            raise NoCounts(f"{self._server.url} answers, but not as Prometheus' query API does") from None
