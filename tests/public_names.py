"""What a package of lazy public names promises a type checker, held against what its attributes really are."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType


def assert_is_what_a_checker_reads(package: ModuleType, name: str) -> None:
    """The imports that a checker reads are of the public names, and name the module that this one really comes from."""
    tree = ast.parse(Path(package.__file__ or "").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firstword.")
        for alias in node.names
    }
    assert set(seen) == set(package.__all__)
    assert getattr(package, name) is getattr(import_module(seen[name] or ""), name)
    assert name in dir(package)
