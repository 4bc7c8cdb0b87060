"""What the servers of a local run are started with is what their configurations read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firstword.rehearsal.local_servers import PairedCollector, collector_server, jaeger_server
from firstword.rehearsal.ports import Ports
from firstword.rehearsal.processes import Child
from firstword.rehearsal.servers import JAEGER, Program

PROGRAM = Program(JAEGER, "path", Path("/bin/jaeger"))
PORTS = Ports.free()


def read_by(child: Child) -> set[str]:
    """Names of the variables in the configurations that the server is started with."""
    files = [Path(each) for each in child.command if each.endswith(".yaml")]
    return {name for file in files for name in re.findall(r"\$\{env:(\w+)", file.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("paired", [False, True])
def test_a_collectors_variables_are_those_of_its_configuration(tmp_path: Path, paired: bool) -> None:
    """A name that no configuration reads would leave its default in force, without a word."""
    pair = PairedCollector("0-7", 1, 2) if paired else None
    child = collector_server(PROGRAM, tmp_path, PORTS, {}, jaeger_otlp=PORTS.jaeger_otlp, pair=pair)
    given = {name for name in child.environment if name.startswith(("COLLECTOR_", "FIRSTWORD_"))}
    assert given
    assert given <= read_by(child)


def test_jaegers_variables_are_those_of_its_configuration(tmp_path: Path) -> None:
    child = jaeger_server(PROGRAM, tmp_path, PORTS, {})
    given = {name for name in child.environment if name.startswith("JAEGER_")}
    assert given
    assert given <= read_by(child)
