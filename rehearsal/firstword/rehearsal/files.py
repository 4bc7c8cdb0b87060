"""Finds the files that runs need beside the code: `deploy/` and the collector's configuration, in a checkout as in a wheel.
Writes those that hold a secret.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from firstword.agent import folders

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parents[2]


def data_file(name: str) -> Path:
    """Returns the path of the file or folder `name`, which is given from the repository's root, such as
    `deploy/flags.json`.

    A wheel carries a copy in `firstword/rehearsal/data`; a checkout has no such folder and is used as it lies. Raises
    FileNotFoundError when neither has it.
    """
    wheel = _PACKAGE / "data"
    path = (wheel if wheel.is_dir() else _CHECKOUT) / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is missing: looked for {path}")
    return path


def write_private(file: Path, content: Mapping[str, object]) -> None:
    """Writes JSON that holds a secret, whole or not at all, for this user alone. Raises OSError."""
    folders.make_private(file.parent)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump(content, out, indent=2)
    draft.replace(file)
