"""Telemetry that fails: the call goes on, the log says so once, and a test hears of it."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from firstword.telemetry import guard
from firstword.telemetry.export import Exporting
from firstword.telemetry.record import Outcome
from firstword.telemetry.run import Run
from firstword.telemetry.testing import CountingIds, StartupTest
from tests.telemetry.plans import a_plan


class RunningOut(CountingIds):
    """Has an id for a root and for no other span."""

    def generate_span_id(self) -> int:
        if (made := super().generate_span_id()) > 1:
            raise RuntimeError("no more ids")
        return made


@pytest.fixture
def run(startup_test: StartupTest) -> Run:
    """A run whose trace can make no span of a task or piece."""
    startup_test.exporting.shutdown()
    startup_test.exporting = Exporting([InMemorySpanExporter()], ids=RunningOut())
    return startup_test.new_run(a_plan(), given={"job": "job"})


def test_the_call_goes_on_and_the_log_says_so_once(
    startup_test: StartupTest, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each task of the start fails to enter its span, each export fails: two lines, and the first word comes."""
    monkeypatch.delenv("PYTEST_VERSION")
    monkeypatch.setattr(guard, "_logged", set[str]())
    with caplog.at_level(logging.ERROR):
        start = startup_test.loop.run_until_complete(run.perform())
    assert start.outcome is Outcome.FIRST_WORD
    assert [message.partition(";")[0] for message in caplog.messages] == [
        "StartTrace.enter_task failed",
        "StartTrace.export failed",
    ]


def test_under_pytest_it_is_raised(startup_test: StartupTest, run: Run) -> None:
    """What would be one line in a log in production fails the test that causes it."""
    with pytest.raises(RuntimeError, match="no more ids"):
        startup_test.loop.run_until_complete(run.perform())
