"""When something that failed is tried again, and how often the log speaks of it."""

from __future__ import annotations

import logging

import pytest

from firstword.agent.failures import BackOff, Failing


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    """And a success ends it."""
    clock = [0.0]
    back_off = BackOff(30.0, 100.0, now=lambda: clock[0])
    assert back_off.due
    assert [back_off.failed() for _ in range(4)] == [30.0, 60.0, 100.0, 100.0]
    assert not back_off.due
    clock[0] = 100.0
    assert back_off.due
    back_off.worked()
    assert back_off.failed() == 30.0


def test_a_failure_is_one_line_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """One for each reason; one when it works again; then a new failure is news."""
    failing = Failing("cache")
    with caplog.at_level(logging.INFO, logger="firstword"):
        failing.works()
        for reason in ("full", "full", "late", "full"):
            failing.failed(reason, f"no cache: {reason}")
        failing.works()
        failing.works()
        failing.failed("full", "no cache: full")
    assert caplog.messages == ["no cache: full", "no cache: late", "cache works again", "no cache: full"]
