"""The file that `firstword.telemetry.observe_folder` copies as `sitecustomize.py`: it runs the switch, and then the
`sitecustomize` that was there.

Python imports one module of that name, the first on its path. So that ours takes nothing away, it runs the next one.
"""

from __future__ import annotations

import importlib
import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


def _switch_on() -> None:
    try:
        from firstword.telemetry import switch

        switch.register()
        if also := os.environ.get("FIRSTWORD_AT_START"):
            importlib.import_module(also)
    except Exception as error:  # whatever runs in this Python, it runs
        print(f"firstword: starts are not observed: {error!r}", file=sys.stderr)  # noqa: T201 # no logging is set up yet


def _run_the_next() -> None:
    """Runs the next `sitecustomize` in our place, with what it raises. One that finds and runs a next one itself finds no other."""
    ours = os.path.dirname(os.path.abspath(__file__))
    others = [place for place in sys.path if os.path.abspath(place) != ours]
    spec = PathFinder.find_spec(__name__, others)
    if spec is not None and spec.loader is not None:
        sys.modules[__name__] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[__name__])


if __name__ == "sitecustomize":
    if os.environ.get("FIRSTWORD_OBSERVE"):
        _switch_on()
    _run_the_next()
