"""docs/failures.md: each row of its table names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_row_has_a_test() -> None:
    """By its name, or the file of several."""
    rows = [line for line in (ROOT / "docs" / "failures.md").read_text().splitlines() if line.startswith("| ")][1:]
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        named = re.findall(r"`([\w/]*test_\w+(?:\.py)?)`", row.rpartition(" | ")[2])
        assert named, row
        for name in named:
            found = any((ROOT / "tests").rglob(Path(name).name)) if name.endswith(".py") else f"def {name}(" in tests
            assert found, name
