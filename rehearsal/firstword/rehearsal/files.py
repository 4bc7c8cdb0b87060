"""Finds the files that runs need beside the code: `deploy/` and the collector's configuration, in a checkout as in a wheel."""

from pathlib import Path

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
