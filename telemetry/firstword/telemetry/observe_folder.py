"""Makes starts observable in another Python, in which firstword is not installed: writes a folder with telemetry alone
for its path.

A `.pth` is not read from PYTHONPATH, so the folder has a `sitecustomize`, which runs the one that was there too. The
other Python needs what `telemetry` needs and LiveKit brings: opentelemetry-sdk, its OTLP exporters, protobuf.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from firstword.telemetry import chained_sitecustomize
from firstword.telemetry.switch import VARIABLE

AT_START = "FIRSTWORD_AT_START"
"""Variable that names a module which each process imports at its start, once the switch is on."""
_HERE = Path(__file__).parent


def write_observe_folder(folder: Path, *, beside: Sequence[Path] = ()) -> None:
    """Writes a folder that makes a Python with it on its path observe starts. It may exist already. Raises OSError.

    beside: folders of packages that become parts of `firstword` there, as telemetry does.
    """
    for package in (_HERE, *beside):
        copy = folder / "firstword" / package.name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(chained_sitecustomize.__file__, folder / "sitecustomize.py")


def observing(
    environment: Mapping[str, str], folder: Path, share: str = "1", *, at_start: str | None = None
) -> dict[str, str]:
    """Returns the environment with the variables added that let a process, and those it starts, be observed by that
    folder.

    share: of the sessions, as in FIRSTWORD_OBSERVE. at_start: a module that each of these processes imports at its
    start.
    """
    paths = [str(folder.absolute()), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    imported = {} if at_start is None else {AT_START: at_start}
    return {**environment, "PYTHONPATH": os.pathsep.join(paths), VARIABLE: share, **imported}
