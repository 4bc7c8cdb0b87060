"""The one guard around telemetry: an error in it never costs a caller the call, and is raised in tests.

Around what a run asks of its trace (`firstword.telemetry.spans`) and what an agent makes of its record. The answers of
the analysis are not guarded: who asks for them wants to know.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import ParamSpec

logger = logging.getLogger("firstword")

P = ParamSpec("P")

_logged: set[str] = set()


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """Decorates a function so that its exceptions are not raised. The first one of each function in a process is
    logged. Under pytest they are raised.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            function(*arguments, **options)
        except Exception:
            if "PYTEST_VERSION" in os.environ:
                raise
            if function.__qualname__ not in _logged:
                _logged.add(function.__qualname__)
                logger.exception("%s failed; the call goes on, its trace may lack something", function.__qualname__)

    return call
